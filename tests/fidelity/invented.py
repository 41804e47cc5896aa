"""Invented people, samples and features."""

import numpy as np
import pandas as pd

from braing3n.fidelity.arms import ARMS

NULL = {"disease": "", "sex": "", "site": "", "age_years": np.nan, "idh1": ""}


def make_samples():
    """Four samples an arm but FLAIR, which has none, and four under a site, which belong to no arm."""
    rows = []
    for arm in ARMS:
        if arm.conditions and arm.title != "Modality FLAIR":
            rows += [{**NULL, **arm.conditions}] * 4
    rows += [{**NULL, "modality": "T1", "site": "S0"}] * 4
    return pd.DataFrame(rows).assign(sample_id=lambda frame: [f"s{k}" for k in range(len(frame))])


def make_people(n, n_features, seed=0):
    """One T1 each of `n` people, and their standard normal features."""
    ids = [f"p{k:03d}" for k in range(n)]
    labels = pd.DataFrame({"person_id": ids, "group_id": ids, "modality": "T1", "dx": "HC", "sex": "F"})
    labels = labels.assign(age_years=50.0, idh1="", split=np.where(np.arange(n) % 4, "train", "test"))
    return labels, np.random.default_rng(seed).normal(size=(n, n_features))


def make_corpus():
    """Two volumes each of 60 people, a T1 and a T1c, their features, and samples."""
    rng = np.random.default_rng(0)
    n = 120
    labels = pd.DataFrame(
        {
            "person_id": [f"p{k // 2}" for k in range(n)],
            "group_id": [f"p{k // 2}" for k in range(n)],
            "modality": np.where(np.arange(n) % 2, "T1", "T1c"),
            "dx": np.where(np.arange(n) // 2 % 3, "HC", "GBM"),
            "sex": np.where(np.arange(n) // 2 % 2, "F", "M"),
            "age_years": rng.uniform(20, 80, n),
            "idh1": np.where(np.arange(n) // 2 % 3, "", "wildtype"),
            "split": np.where(np.arange(n) // 2 % 5, "train", "validation"),
        }
    )
    return labels, rng.normal(size=(n, 16)), make_samples()


class Levels:
    """In the place of Inception: mean, deviation and two pixels of each slice."""

    def encode(self, images):
        return np.array([[v.mean(), v.std(), v[6, 6], v[2, 9]] for v in images], np.float32)
