"""Outliers by cohort and modality: distances against a reference, small groups, and what nearly all share."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation

from braing3n.manifest.quality.measures import MEASURES, MIN_COMPARED, judge_quality


def make_volumes(n, cohort="lab", modality="T1", seed=0):
    rng = np.random.default_rng(seed)
    numbers = {name: 1 - rng.gamma(2, 0.1, n) for name in MEASURES}
    frame = pd.DataFrame({"volume_id": [f"{cohort}_sub-{k:02d}_{modality}" for k in range(n)], **numbers})
    return frame.assign(cohort=cohort, modality=modality)


def test_distances_are_median_and_mad_within_cohort_and_modality_towards_worse():
    parts = [make_volumes(30), make_volumes(25, modality="T2", seed=1), make_volumes(20, "other", seed=2)]
    judged = judge_quality(pd.concat(parts, ignore_index=True))
    for part, (_, found) in zip(parts, judged.groupby(["cohort", "modality"], sort=False), strict=True):
        for name, measure in MEASURES.items():
            values = part[name].to_numpy()
            scale = median_abs_deviation(values, scale="normal")
            expected = (values - np.median(values)) / scale * (1 if measure.is_more_worse else -1)
            np.testing.assert_allclose(found[f"{name}_z"], expected, rtol=1e-3)
        distances = found[[f"{name}_z" for name in MEASURES]]
        np.testing.assert_array_equal(found["outlier_score"], distances.max(axis=1))
        assert found["outlier_measure"].tolist() == [name[:-2] for name in distances.idxmax(axis=1)]
        assert (found["n_compared"] == len(part)).all()


def test_a_small_group_is_not_judged_and_a_number_too_few_have_is_not_either():
    judged = judge_quality(make_volumes(MIN_COMPARED - 1))
    assert judged["outlier_score"].isna().all()
    assert (judged["outlier_measure"] == "").all()
    volumes = make_volumes(MIN_COMPARED + 5)
    volumes.loc[: MIN_COMPARED - 2, "noise"] = np.nan
    judged = judge_quality(volumes)
    assert judged["noise_z"].isna().all()
    assert judged["outlier_score"].notna().all()


def test_where_nearly_all_agree_a_trifle_is_no_outlier_and_a_loss_is():
    volumes = make_volumes(20)
    for name in MEASURES:
        volumes[name] = 1.0
    volumes.loc[3, "atlas_coverage"] = 0.999
    volumes.loc[7, "atlas_coverage"] = 0.9
    judged = judge_quality(volumes)
    assert judged["outlier_score"].idxmax() == 7
    assert judged.loc[7, "outlier_measure"] == "atlas_coverage"
    assert judged.loc[7, "outlier_score"] == pytest.approx(0.1 / MEASURES["atlas_coverage"].resolution)
    assert judged.loc[3, "outlier_score"] < 1


def test_no_volume_at_all_is_an_empty_table():
    assert len(judge_quality(make_volumes(5).iloc[:0])) == 0
