"""Invented people whose features have planted effects, and samples of generators that are known."""

import numpy as np
import pandas as pd

from braing3n.config import ControlSettings, ProbeSettings
from braing3n.control.evaluate import Real
from braing3n.diffusion.sample import ARMS, CONTROL_ARMS, list_samples

N_PEOPLE, N_FEATURES, SIZE = 600, 40, 1.8
_RNG = np.random.default_rng(5)
EFFECTS = {name: _RNG.normal(size=N_FEATURES) / np.sqrt(N_FEATURES) for name in ("age", "sex", "dx", "idh1")}
MODALITY = dict(zip(("T1", "T2", "FLAIR", "T1c"), _RNG.normal(size=(4, N_FEATURES)), strict=True))
SEVERITY = {"HC": 0.0, "MCI": 0.5, "AD": 1.0, "PD": -1.0, "GBM": 0.0}


def make_labels():
    """One volume each of some people; tumours are in T1c only, and only they have an IDH1 status."""
    rng = np.random.default_rng(0)
    names = [f"p{k:04d}" for k in range(N_PEOPLE)]
    modality = rng.choice(("T1", "T2", "FLAIR", "T1c"), N_PEOPLE, p=(0.55, 0.1, 0.1, 0.25))
    dx = np.where(
        modality == "T1c", "GBM", rng.choice(("HC", "MCI", "AD", "PD"), N_PEOPLE, p=(0.4, 0.2, 0.2, 0.2))
    )
    table = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names, "modality": modality})
    table = table.assign(
        dx=dx, sex=rng.choice(("F", "M"), N_PEOPLE), site="s", age_years=rng.uniform(20, 90, N_PEOPLE)
    )
    idh1 = np.where(modality == "T1c", rng.choice(("wildtype", "mutant"), N_PEOPLE, p=(0.7, 0.3)), "")
    return table.assign(idh1=idh1, split=rng.choice(("train", "test"), N_PEOPLE, p=(0.6, 0.4)))


def make_features(labels, seed=1):
    """Planted effects and a person's own noise of deviation 1, from columns of labels."""
    amounts = {
        "age": (labels["age_years"] - 55) / 15,
        "sex": 1.0 * (labels["sex"] == "F"),
        "dx": labels["dx"].map(SEVERITY).astype(float),
        "idh1": 0.6 * (labels["idh1"] == "mutant"),
    }
    planted = sum(SIZE * amount.to_numpy()[:, None] * EFFECTS[name] for name, amount in amounts.items())
    planted = planted + np.stack([MODALITY[name] for name in labels["modality"]])
    return (
        planted
        + np.random.default_rng(seed).normal(size=(len(labels), N_FEATURES)) / np.sqrt(N_FEATURES) * 1.2
    )


def make_samples(n=60):
    """The table of samples of every arm, as `read_samples` gives it."""
    table = list_samples([*ARMS, *CONTROL_ARMS], n)
    return table.assign(guidance=2.0, is_main=True, is_scaled=True)


def draw(samples, labels, is_deaf=False, seed=3):
    """Features of a perfect generator's samples: what an arm does not name is as in training people.

    A deaf one hears of the modality only.
    """
    rng = np.random.default_rng(seed)
    people = labels[labels["split"] == "train"]
    rows = []
    for sample in samples.itertuples():
        fitting = people[people["modality"] == sample.modality]
        asked = {"dx": sample.disease, "sex": sample.sex, "idh1": sample.idh1}
        if not is_deaf:
            for column, value in asked.items():
                fitting = fitting[fitting[column] == value] if value else fitting
        one = fitting.iloc[int(rng.integers(len(fitting)))].to_dict()
        if not is_deaf and sample.age_years == sample.age_years:
            one["age_years"] = sample.age_years
        rows.append(one)
    return make_features(pd.DataFrame(rows), seed)


def make_real(labels, **more):
    """The real people, with fewer draws."""
    settings = ControlSettings(n_draws=20, n_latents=100, **more)
    return Real.of(labels, settings, ProbeSettings(n_pca_components=20))
