"""A made-up corpus: labels and features in which some labels are planted and others are not."""

import numpy as np
import pandas as pd
import pytest

from braing3n.config import ProbeSettings
from braing3n.manifest.contracts import LABELS


def make_corpus(n_people: int = 90, n_features: int = 24, seed: int = 0):
    """Labels (one T1 a person, T2 for every other) and features that carry sex, age, site and noise.

    Site S3 holds all decoy cases and a few controls; families of two share a group.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n_people):
        site = f"S{rng.integers(0, 3)}"
        decoy = "control"
        if k % 4 == 0:
            site, decoy = "S3", "case" if k % 12 else "control"
        person = {
            "person_id": f"p{k:03d}",
            "group_id": f"g{k // 2:03d}" if k < 10 else f"g{k:03d}",
            "sex": "FM"[k % 2],
            "dx": ("HC", "AD", "GBM")[0 if k % 3 else 1 + (k % 6 == 0) * (k < 20)],
            "age_years": float(rng.uniform(20, 80)),
            "site": site,
            "control_decoy": decoy,
            "control_head_size": float(rng.normal(1400, 100)),
        }
        for modality in ("T1", "T2") if k % 2 else ("T1",):
            rows.append({**person, "modality": modality, "volume_id": f"p{k:03d}_{modality}"})
    labels = pd.DataFrame(rows)
    fixed = {
        "split": np.where(labels["group_id"] < "g040", "train", "test"),
        "cohort": "made_up",
        "subject_id": labels["person_id"],
        "session_id": "",
        "run": "",
    }
    labels = labels.assign(**fixed)
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    directions = rng.normal(size=(4, n_features))
    signal = np.stack(
        [
            1.5 * (labels["sex"] == "F"),
            (labels["age_years"] - 50) / 20,
            2.0 * (labels["site"] == "S3"),
            2.0 * (labels["modality"] == "T2"),
        ],
        axis=1,
    ).astype(float)
    features = signal @ directions + rng.normal(size=(len(labels), n_features))
    return labels, features


@pytest.fixture(scope="session")
def corpus():
    return make_corpus()


@pytest.fixture(scope="session")
def settings():
    return ProbeSettings(n_halvings=5, n_random_labels=20, n_permutations=100)
