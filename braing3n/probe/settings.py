"""Settings of probe."""

from __future__ import annotations

from typing import Literal

from braing3n.core.settings import Settings, setting


class ProbeSettings(Settings):
    """Linear probes on frozen features."""

    n_folds: int = setting(5, "person-level folds", "given", ge=2)
    seed: int = setting(2025, "folds, halves and permutations", "given")
    max_iter: int = setting(1000, "logistic regression", "given", ge=1)
    ridge_alpha: float = setting(1.0, "ridge penalty", gt=0)
    n_pca_components: int = setting(64, "components of the voxel PCA, fitted in the fold", ge=1)
    n_halvings: int = setting(10, "deals of people into halves behind an interval", ge=3)
    n_random_labels: int = setting(0, "random labels probed as a control; 0: none", ge=0)
    n_permutations: int = setting(200, "permutations behind a site-matched AUC", ge=20)
    n_matched_repeats: int = setting(20, "deals of folds behind a site-matched AUC", ge=1)
    columns: dict[str, Literal["classification", "regression"]] = setting(
        dict,
        "columns of participants.tsv, or of the label table, that are probed beside the paper's tasks",
        is_apart=True,
    )
    readouts: tuple[Literal["knn", "few_shot", "pca", "attentive"], ...] = setting(
        (), "other readouts beside the linear probe of everyone", is_apart=True
    )
    min_class_people: int = setting(5, "classes with fewer people are dropped and named", ge=2)
