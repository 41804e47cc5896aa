"""The Fréchet distance agrees with the dense formula and behaves as a distance between laws."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from braing3n.fidelity.formulas.frechet import measure_frechet


def measure_densely(x, y):
    """The textbook formula with an F x F matrix root."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(0) - y.mean(0)
    return shift @ shift + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real


def draw(n, n_features, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features)) + rng.normal(
        size=n_features
    )


@pytest.mark.parametrize(("n", "m"), [(60, 80), (60, 25)])
def test_agrees_with_the_dense_matrix_root(n, m):
    x, y = draw(n, 12, 0), draw(m, 12, 1)
    assert measure_frechet(x, y) == pytest.approx(measure_densely(x, y), rel=1e-9)


def test_agrees_with_the_dense_matrix_root_where_covariances_are_of_low_rank():
    """The dense root of a singular product is itself only good to about 1e-6."""
    x, y = draw(10, 30, 0), draw(8, 30, 1)
    assert measure_frechet(x, y) == pytest.approx(measure_densely(x, y), rel=1e-4)


def test_a_set_is_at_zero_from_itself_and_at_the_shift_from_its_copy():
    x = draw(20, 50, 3)
    assert measure_frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert measure_frechet(x, x + 2.0) == pytest.approx(4.0 * 50)


def test_does_not_depend_on_the_axes():
    x, y = draw(15, 40, 4), draw(25, 40, 5)
    rotation, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(40, 40)))
    assert measure_frechet(x @ rotation, y @ rotation) == pytest.approx(measure_frechet(x, y))


def test_is_symmetric_and_needs_no_common_number_of_rows():
    x, y = draw(15, 40, 4), draw(70, 40, 5)
    assert measure_frechet(x, y) == pytest.approx(measure_frechet(y, x))
    assert measure_frechet(3 * x, 3 * y) == pytest.approx(9 * measure_frechet(x, y))


def test_features_in_single_precision_lose_nothing():
    """A common offset of 1000 deviations: sums in float32 would be off by some per cent."""
    x, y = (draw(20, 8, seed).astype(np.float32) + np.float32(4000) for seed in (0, 1))
    expected = measure_densely(x.astype(np.float64), y.astype(np.float64))
    assert measure_frechet(x, y) == pytest.approx(expected, rel=1e-6)
