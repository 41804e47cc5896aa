"""Arms select the samples and the real people that their names say."""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import binom

from braing3n.config import FidelitySettings
from braing3n.diffusion.sample import ARMS as SAMPLED
from braing3n.diffusion.sample import list_samples
from braing3n.fidelity.arms import ARMS, choose_real, select_real, select_samples
from braing3n.paper.published import read_published

from .invented import NULL, make_people, make_samples

BY_TITLE = {arm.title: arm for arm in ARMS}


def test_the_arms_are_the_papers_thirteen_and_two_pools():
    assert [arm.title for arm in ARMS] == list(read_published()["table_8"])
    assert [arm.title for arm in ARMS if not arm.conditions] == ["T1 pooled", "Pooled across all arms"]


def test_each_arm_gets_what_the_sampler_draws_for_it():
    samples = list_samples(list(SAMPLED), 3)
    found = [samples.loc[select_samples(arm, samples), "arm"].tolist() for arm in ARMS if arm.conditions]
    assert found == [[arm.arm] * 3 for arm in SAMPLED]


def test_samples_belong_to_the_arm_of_exactly_their_conditions():
    samples = make_samples()
    counts = {arm.title: int(select_samples(arm, samples).sum()) for arm in ARMS}
    pooled = {title: counts.pop(title) for title in ("T1 pooled", "Pooled across all arms")}
    assert counts.pop("Modality FLAIR") == 0
    assert set(counts.values()) == {4}
    assert pooled == {"T1 pooled": 32, "Pooled across all arms": 48}
    tumour = pd.DataFrame(
        [{**NULL, "idh1": "mutant", "modality": "T1c", "disease": dx} for dx in ("GBM", "HC", "")]
    )
    assert select_samples(BY_TITLE["IDH1 mutant (T1c, GBM)"], tumour).tolist() == [True, False, True]


def test_real_volumes_answer_to_the_arm():
    """Every arm against a filter in words, on a table in which each label takes each value."""
    values = {
        "modality": ["T1", "T2", "FLAIR", "T1c"],
        "dx": ["HC", "AD", "GBM", ""],
        "sex": ["F", "M", ""],
        "age_years": [24.9, 25.0, 30.0, 35.0, 35.1, 50.0, 70.0, np.nan],
        "idh1": ["wildtype", "mutant", ""],
    }
    labels = pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))
    words = {
        "Disease HC (T1)": "modality == 'T1' and dx == 'HC'",
        "Disease AD (T1)": "modality == 'T1' and dx == 'AD'",
        "Sex F (T1)": "modality == 'T1' and sex == 'F'",
        "Sex M (T1)": "modality == 'T1' and sex == 'M'",
        **{f"Modality {name}": f"modality == '{name}'" for name in values["modality"]},
        **{
            f"Age {age} (T1)": f"modality == 'T1' and {age - 5} <= age_years <= {age + 5}"
            for age in (30, 50, 70)
        },
        "IDH1 wildtype (T1c, GBM)": "modality == 'T1c' and dx == 'GBM' and idh1 == 'wildtype'",
        "IDH1 mutant (T1c, GBM)": "modality == 'T1c' and dx == 'GBM' and idh1 == 'mutant'",
        "T1 pooled": "modality == 'T1'",
        "Pooled across all arms": "modality == modality",
    }
    for arm in ARMS:
        expected = labels.query(words[arm.title]).index
        assert list(np.flatnonzero(select_real(arm, labels, 5.0))) == list(expected), arm.title


def test_who_is_drawn_does_not_depend_on_how_many_scans_they_have():
    """Half of the people have 9 scans, half one; any scan of a person may be the one."""
    labels, _ = make_people(100, 1)
    labels = labels.loc[np.repeat(np.arange(100), np.where(np.arange(100) < 50, 9, 1))].reset_index(drop=True)
    chosen = [
        choose_real(BY_TITLE["Modality T1"], labels, 4, FidelitySettings(n_real=16, seed=seed))
        for seed in range(60)
    ]
    people = [labels.loc[rows, "person_id"] for rows in chosen]
    assert {len(set(drawn)) for drawn in people} == {20}
    n_often = sum((drawn < "p050").sum() for drawn in people)
    assert 0.001 < binom.cdf(n_often, 60 * 20, 0.5) < 0.999
    scans = np.concatenate(chosen)
    assert np.bincount(scans[scans < 450] % 9, minlength=9).min() > 30
