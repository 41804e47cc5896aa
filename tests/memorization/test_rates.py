"""How often people whom no model saw are flagged where they stand in the place of samples."""

import numpy as np
import pandas as pd
from scipy.stats import binom, sem

from braing3n.config import MemorizationSettings
from braing3n.memorization.audit import audit_samples
from braing3n.memorization.summary import summarise_audit

N_TRAIN, N_HELD_OUT, N_SAMPLES, N_CORPORA = 120, 80, 40, 80


def test_held_out_people_in_the_place_of_samples_are_flagged_at_the_stated_rate():
    """In 80 corpora: the mean rate is the percentile's; the count lies in its interval as often as stated."""
    rng = np.random.default_rng(0)
    ids = [f"v{k}" for k in range(N_TRAIN + N_HELD_OUT)]
    volumes = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    volumes["split"] = np.where(np.arange(len(ids)) < N_TRAIN, "train", "test")
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(N_SAMPLES)], "modality": "T1"})
    rates, n_within = [], 0
    for _ in range(N_CORPORA):
        people = rng.normal(size=(len(ids) + N_SAMPLES, 4, 5))
        known, samples = people[: len(ids)], people[len(ids) :].astype(np.float32)
        found = audit_samples(known, volumes, samples, table, MemorizationSettings(percentile=5.0))
        row = summarise_audit(found).set_index("pool").loc["all"]
        n = row["n_below_synthetic_real"]
        rates.append(n / N_SAMPLES)
        n_within += row["n_below_low"] <= n <= row["n_below_high"]
    assert abs(np.mean(rates) - 0.05) < 3 * sem(rates), np.mean(rates)
    assert binom.cdf(n_within, N_CORPORA, 0.95) > 0.001, n_within
    assert np.mean(rates) > 0
