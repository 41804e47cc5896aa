"""Effect sizes, age slopes and their intervals against formulas written anew; how often they are wrong."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import linregress, sem

from braing3n.fidelity.anatomy.effects import SIZE, SLOPE, compare_sets, measure_g, measure_slope


def make_set(n, rng, n_volumes=8):
    """People of 20 to 80 years whose volumes say nothing of their age."""
    return np.column_stack([rng.uniform(20, 80, n), rng.normal(100, 10, (n, n_volumes))])


def test_hedges_g_is_that_of_the_textbook():
    rng = np.random.default_rng(0)
    first, second = make_set(7, rng, 3), make_set(12, rng, 3) + 4
    for k, found in enumerate(measure_g(first, second), start=1):
        a, b = first[:, k].tolist(), second[:, k].tolist()
        pooled = (6 * statistics.variance(a) + 11 * statistics.variance(b)) / 17
        d = (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(pooled)
        exact = math.gamma(17 / 2) / (math.sqrt(17 / 2) * math.gamma(16 / 2))  # Hedges' factor itself
        assert found == pytest.approx(d * exact, rel=1e-3)


def test_where_nobody_differs_there_is_no_effect_size_and_no_slope():
    equal = np.column_stack([np.full(5, 50.0), np.full(5, 3.0)])
    assert np.isnan(measure_g(equal, equal)).all()
    assert np.isnan(measure_slope(equal)).all()
    found = compare_sets(SLOPE, equal, make_set(9, np.random.default_rng(0), 1), 5, False, 0)
    assert np.isnan([found["first"], found["value"], found["value_low"]]).all()
    assert np.isfinite(found["floor_low"]).all()


def test_slopes_are_those_of_a_regression():
    people = make_set(30, np.random.default_rng(1), 2)
    people[:, 1] += 0.7 * people[:, 0]
    expected = [linregress(people[:, 0], people[:, k]).slope for k in (1, 2)]
    np.testing.assert_allclose(measure_slope(people), expected)
    np.testing.assert_allclose(measure_slope(np.stack([people, people]))[1], expected)


@pytest.mark.parametrize("effect", [SIZE, SLOPE])
def test_real_people_in_the_samples_place_are_outside_at_the_nominal_rate_or_less(effect, monkeypatch):
    """Eight volumes of 120 dealings: 16 people as samples against 48 others of the same law."""
    monkeypatch.setattr("braing3n.fidelity.anatomy.effects.N_DRAWS", 300)
    rng, outside, missed = np.random.default_rng(2), [], []
    for draw in range(120):
        found = compare_sets(effect, make_set(16, rng), make_set(48, rng), 16, False, draw)
        is_outside = (found["value"] < found["floor_low"]) | (found["value"] > found["floor_high"])
        outside.append(is_outside.mean())
        missed.append(((found["value_low"] > 0) | (found["value_high"] < 0)).mean())
    for shares in (outside, missed):  # volumes of a dealing share its people's ages
        assert np.mean(shares) - 3 * sem(shares) < 0.05
        assert np.mean(shares) > 0.01


def test_a_large_difference_is_outside_with_its_size_and_sign_and_only_there():
    rng = np.random.default_rng(3)
    first, second = make_set(16, rng), make_set(60, rng)
    first[:, 4] -= 20  # two deviations
    found = compare_sets(SIZE, first, second, 16, False, 0)
    is_outside = (found["value"] < found["floor_low"]) | (found["value"] > found["floor_high"])
    assert is_outside.tolist() == [k == 3 for k in range(8)]
    assert found["value_low"][3] < -2 < found["value_high"][3]
    assert found["value"][3] < -1.3
    np.testing.assert_allclose(found["first"], first[:, 1:].mean(axis=0))
    np.testing.assert_allclose(found["second"], second[:, 1:].mean(axis=0))


def test_reconstructions_of_the_same_people_show_what_the_decoder_changes():
    second = make_set(60, np.random.default_rng(4))
    first = second.copy()
    first[:, 1] *= 1.3
    found = compare_sets(SIZE, first, second, 20, True, 0)
    assert found["value"][0] > found["floor_high"][0]
    np.testing.assert_allclose(found["value"][1:], found["floor"][1:])


def test_without_a_floor_all_people_are_the_others():
    rng = np.random.default_rng(5)
    first, second = make_set(16, rng), make_set(10, rng)
    found = compare_sets(SIZE, first, second, 0, False, 0)
    np.testing.assert_allclose(found["value"], measure_g(first, second))
    assert np.isnan(found["floor"]).all()
    assert (found["value_low"] < found["value"]).all()


def measure_widths(found, name):
    """The widths of a mean's intervals over 3.92 deviations, which is the mean's standard error."""
    return (found[f"{name}_high"] - found[f"{name}_low"]) / (2 * 1.96)


@pytest.mark.parametrize("is_dealt", [False, True])
def test_intervals_are_of_as_many_people_as_each_side_has_in_a_draw(is_dealt):
    """A dealt set stands for as many people as there are samples, and leaves the rest to the other side."""
    second = make_set(90, np.random.default_rng(6))
    first = second + 1 if is_dealt else make_set(40, np.random.default_rng(7))
    found = compare_sets(SIZE, first, second, 20, is_dealt, 0)
    for name, people, n in (("first", first, 20 if is_dealt else 40), ("second", second, 70)):
        expected = people[:, 1:].std(axis=0) / math.sqrt(n)
        assert np.mean(measure_widths(found, name) / expected) == pytest.approx(1, abs=0.06)
