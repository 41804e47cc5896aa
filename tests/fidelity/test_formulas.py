"""Each formula against the definition in loops, or against another implementation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from braing3n.fidelity.floors import deal_people, measure_beside_floor
from braing3n.fidelity.formulas.frechet import Moments, compare_moments, measure_frechet
from braing3n.fidelity.formulas.kernels import choose_sigma, measure_kid, measure_mmd
from braing3n.fidelity.formulas.neighbourhoods import measure_neighbourhoods
from braing3n.fidelity.formulas.similarity import count_scales, measure_diversity, measure_ms_ssim
from braing3n.fidelity.slices import apply_window, cut_slices, find_common_mask


def draw(n, n_features, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_features)) * np.linspace(0.3, 3, n_features) + shift


@pytest.mark.parametrize(("n", "m"), [(300, 400), (90, 30)])
def test_the_frechet_distance_is_that_of_torch_fidelity(n, m):
    metric = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    x, y = draw(n, 64, 0), draw(m, 64, 1, shift=0.2)
    stats = [metric.fid_features_to_statistics(torch.from_numpy(v)) for v in (x, y)]
    expected = metric.fid_statistics_to_metric(*stats, verbose=False)[metric.KEY_METRIC_FID]
    assert measure_frechet(x, y) == pytest.approx(expected, abs=1e-3)
    assert compare_moments(Moments.of(x), Moments.of(y)) == pytest.approx(expected, abs=1e-3)


def test_moments_of_blocks_are_those_of_the_whole():
    x, y = draw(70, 9, 0, shift=50), draw(40, 9, 1, shift=50)
    parts = [Moments.of(block) for block in np.array_split(x.astype(np.float32), 7)]
    whole = sum(parts[1:], parts[0])
    assert whole.n == 70
    np.testing.assert_allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-4, atol=1e-4)
    rest = Moments.of(np.concatenate([x, y])) - Moments.of(x)
    assert compare_moments(rest, Moments.of(x)) == pytest.approx(measure_frechet(y, x), rel=1e-6)


def loop_mmd(x, y, kernel):
    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * across


def test_kid_and_mmd_are_their_definitions_by_loops():
    x, y = draw(17, 6, 0), draw(23, 6, 1, shift=0.5)
    expected = loop_mmd(x, y, lambda a, b: (sum(a * b) / 6 + 1) ** 3)
    assert measure_kid(x, y) == pytest.approx(expected, rel=1e-9)
    expected = loop_mmd(x, y, lambda a, b: math.exp(-sum((a - b) ** 2) / (2 * 1.7**2)))
    assert measure_mmd(x, y, 1.7) == pytest.approx(expected, rel=1e-9)
    gaps = [math.dist(a, b) for a, b in itertools.combinations(y, 2)]
    assert choose_sigma(y) == pytest.approx(np.median(gaps))


def test_kid_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    x, y = torch.from_numpy(draw(60, 30, 0)), torch.from_numpy(draw(60, 30, 1, shift=0.3))
    found = metric.kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=60, verbose=False)
    expected = found[metric.KEY_METRIC_KID_MEAN]
    assert measure_kid(x.numpy(), y.numpy()) == pytest.approx(expected, rel=1e-5)


def test_precision_recall_density_and_coverage_are_their_definitions_on_50_points():
    generated, real, k = draw(50, 3, 0), draw(50, 3, 1, shift=0.8), 4

    def reach(points, i):
        return sorted(math.dist(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    near_real = [[math.dist(g, r) <= reach(real, j) for j, r in enumerate(real)] for g in generated]
    near_generated = [[math.dist(g, r) <= reach(generated, i) for i, g in enumerate(generated)] for r in real]
    expected = {
        "precision": sum(any(row) for row in near_real) / 50,
        "recall": sum(any(row) for row in near_generated) / 50,
        "density": sum(map(sum, near_real)) / (k * 50),
        "coverage": sum(any(row[j] for row in near_real) for j in range(50)) / 50,
    }
    assert measure_neighbourhoods(generated, real, k) == pytest.approx(expected)
    assert len(set(expected.values())) == 4
    assert all(math.isnan(v) for v in measure_neighbourhoods(generated[:4], real, k).values())


def make_pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    return np.clip(0.5 + x, 0, 1), np.clip(0.5 + x + 0.1 * rng.normal(size=shape), 0, 1)


def test_ms_ssim_is_that_of_monai():
    from monai.metrics.regression import compute_ms_ssim

    x, y = make_pair((64, 60, 62))
    assert count_scales(x.shape) == 3
    weights = np.array((0.0448, 0.2856, 0.3001))
    expected = compute_ms_ssim(
        *(torch.from_numpy(v)[None, None] for v in (x, y)), 3, weights=(weights / weights.sum()).tolist()
    )
    assert measure_ms_ssim(x, y, 1.0) == pytest.approx(expected.item(), rel=1e-4)


def test_one_scale_is_the_mean_of_the_windows_ssim():
    """The formula of Wang (2004) at each place where the window fits, by scipy's Gaussian."""
    x, y = make_pair((20, 21, 19))
    assert count_scales(x.shape) == 1

    def mean(v):
        return ndimage.gaussian_filter(v, 1.5, truncate=5 / 1.5)[5:-5, 5:-5, 5:-5]

    mx, my = mean(x), mean(y)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mx * my + c1) * (2 * (mean(x * y) - mx * my) + c2)
    bottom = (mx**2 + my**2 + c1) * (mean(x * x) - mx**2 + mean(y * y) - my**2 + c2)
    assert measure_ms_ssim(x, y, 1.0) == pytest.approx((top / bottom).mean(), rel=1e-6)
    assert measure_ms_ssim(x, x, 1.0) == pytest.approx(1)
    assert math.isnan(measure_ms_ssim(x[:10], y[:10], 1.0))


def test_diversity_pairs_no_person_with_themselves():
    volumes = [make_pair((16, 16, 16), seed)[0] for seed in range(3)]
    asked = []

    def load(i):
        asked.append(i)
        return volumes[i]

    found = measure_diversity(load, np.array(["a", "a", "b"]), 10, 1.0, 0)
    assert sorted(zip(asked[::2], asked[1::2], strict=True)) == [(0, 2), (1, 2)]
    assert len(found) == 2
    assert measure_diversity(load, np.array(["a", "a", "a"]), 10, 1.0, 0) == []


def test_slices_are_the_ten_central_ones_of_three_views_in_one_window():
    rng = np.random.default_rng(0)
    volume, mask = rng.normal(0, 3, size=(20, 31, 12)), rng.random((20, 31, 12)) < 0.8
    levels = apply_window(volume, mask)
    slices = cut_slices(levels)
    assert len(slices) == 30
    expected = np.where(mask, (np.clip(volume, -4, 4) + 4) / 8, 0)
    for k in range(10):
        for image, plane in ((slices[k], expected[5 + k]), (slices[10 + k], expected[:, 10 + k])):
            np.testing.assert_allclose(image, plane * 255, atol=0.5 + 1e-4)
        np.testing.assert_allclose(slices[20 + k], expected[:, :, 1 + k] * 255, atol=0.5 + 1e-4)
    assert slices[0].dtype == np.uint8
    assert [len(cut_slices(levels[:4])), cut_slices(levels[:4])[0].shape] == [24, (31, 12)]


def test_the_common_mask_is_where_half_of_the_brains_lie():
    masks = [np.array([[[True, True, False, False]]]), np.array([[[True, False, True, False]]])]
    masks += [np.array([[[True, False, False, False]]])] * 2
    assert find_common_mask(iter(masks)).tolist() == [[[True, False, False, False]]]
    assert find_common_mask(iter(masks[:2])).tolist() == [[[True, True, True, False]]]


def test_people_are_dealt_whole():
    generated, real = np.array(["a", "a", "b", "c", "d"]), np.array(["p", "q", "q", "r", "s", "t", "t"])
    for drawn, in_place, others in deal_people(generated, real, 20, 0):
        assert len(set(generated[drawn])) == len(set(real[in_place])) == 2
        assert not set(real[in_place]) & set(real[others])
        assert sorted([*in_place, *others]) == list(range(7))
        assert drawn.tolist() == np.flatnonzero(np.isin(generated, generated[drawn])).tolist()


def test_a_distance_and_its_floor_have_the_same_numbers():
    seen = []

    def distance(x, y):
        seen.append((len(x), len(y)))
        return float(x.mean() - y.mean())

    names = np.arange(9)
    sets = np.full((3, 3, 2), 5.0), np.zeros((9, 3, 2))
    found = measure_beside_floor(distance, *sets, (names[:3], names), 6, 0)
    assert set(seen) == {(9, 18)}
    assert found["matched"] == found["low"] == found["high"] == 5
    assert found["floor"] == found["floor_95"] == 0
    assert found["n_dealt"] == 3


def test_everybody_is_dealt_to_every_place():
    generated, real = np.arange(6), np.arange(8)
    places = [set(), set(), set()]
    for dealt in deal_people(generated, real, 60, 0):
        for place, rows in zip(places, dealt, strict=True):
            place.update(rows.tolist())
    assert places == [set(range(6)), set(range(8)), set(range(8))]
    first, same, other = (
        [part[1].tolist() for part in deal_people(generated, real, 9, k)] for k in (0, 0, 1)
    )
    assert first == same != other


def test_the_percentiles_beside_a_floor_are_those_of_its_draws():
    rng = np.random.default_rng(3)
    generated, real = rng.normal(1, 2, (12, 2, 3)), rng.normal(size=(30, 2, 3))
    people = np.arange(12), np.arange(30)
    found = measure_beside_floor(lambda x, y: x.mean() - y.mean(), generated, real, people, 50, 7)
    values, floors = [], []
    for drawn, in_place, others in deal_people(*people, 50, 7):
        beside = real[others].mean()
        values.append(generated[drawn].mean() - beside)
        floors.append(real[in_place].mean() - beside)
    expected = {"matched": np.mean(values), "floor": np.mean(floors), "n_dealt": 12}
    expected |= dict(zip(("low", "high"), np.percentile(values, [2.5, 97.5]), strict=True))
    names = ("floor_low", "floor_95", "floor_high")
    expected |= dict(zip(names, np.percentile(floors, [2.5, 95, 97.5]), strict=True))
    assert found == pytest.approx(expected)
