"""Intervals cover what they claim, and few numbers or constant ones have none."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from braing3n.diffusion.intervals import correlate, measure_mean, measure_share, resample


def test_intervals_hold_what_they_claim():
    rng, hits = np.random.default_rng(0), np.zeros(3)
    for _ in range(120):
        low, high = measure_share(rng.random(64) < 0.8)[1:]
        hits[0] += low <= 0.8 <= high
        low, high = measure_mean(rng.normal(3, 2, 20))[1:]
        hits[1] += low <= 3 <= high
        people = rng.normal(3, 2, 40).repeat(2)  # two volumes a person, alike
        low, high = resample(lambda k, v=people: v[k].mean(), np.arange(40).repeat(2), 100, 1)[1:]
        hits[2] += low <= 3 <= high
    assert (hits / 120 > 0.87).all()
    assert (hits / 120 < 0.995).all()


def test_few_have_no_interval():
    assert np.isnan(measure_mean(np.array([1.0, 2.0]))[1:]).all()
    assert measure_mean(np.array([0.1, 0.9, 0.9]), 0, 1)[1:] == (0, 1), "no AUC lies outside"
    value, low, high = resample(lambda k: float(len(k)), np.array(["a", "a", "b"]), 20, 1)
    assert value == 3
    assert np.isnan([low, high]).all()


def test_a_correlation_has_fishers_interval_and_constants_have_none():
    rng = np.random.default_rng(0)
    requested = rng.normal(size=200)
    read = requested + rng.normal(size=200)
    r, low, high = correlate(requested, read)
    assert r == pytest.approx(np.corrcoef(requested, read)[0, 1])
    found = bootstrap((requested, read), lambda a, b: np.corrcoef(a, b)[0, 1], paired=True, vectorized=False,
                      n_resamples=500, rng=rng, method="percentile").confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.03)
    for one, other in ((np.ones(9), np.arange(9)), (np.arange(9), np.ones(9)), (np.arange(3), np.arange(3))):
        assert np.isnan(correlate(one, other)).all()
