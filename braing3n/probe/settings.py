"""Settings of probe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator

from braing3n.core.settings import EachOnce, OptimiserSettings, Seed, Settings, setting
from braing3n.probe.tasks import PAPER_TASKS

Readout = Literal["knn", "few_shot", "pca", "attentive", "combat"]


class FinetuneSettings(Settings):
    """Supervised fine-tuning of our encoder, one job a task; off where no task is named."""

    tasks: Annotated[tuple[str, ...], EachOnce] = setting(
        (), "the paper's tasks that our encoder is fine-tuned on; none: off", is_apart=True
    )
    encoder_lr_scale: float = setting(0.1, "learning rate of the encoder over that of the layer on it", gt=0)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(lr=1e-3, batch_size=32, n_epochs=20, n_warmup_epochs=2, gradient_clip=1.0),
        "training in a fold; it ends with its plan, and nothing is validated",
    )
    seed: Seed = setting(2025, "data order")

    @field_validator("tasks")
    @classmethod
    def _are_the_papers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = [task.key for task in PAPER_TASKS]
        for name in names:
            if name not in known:
                raise ValueError(f"'{name}' is no task of the paper ({', '.join(known)})")
        return names


class ProbeSettings(Settings):
    """Linear probes on frozen features."""

    n_folds: int = setting(5, "person-level folds", "given", ge=2)
    seed: Seed = setting(2025, "folds, halves and permutations", "given")
    max_iter: int = setting(1000, "largest number of iterations of the logistic regression", "given", ge=1)
    ridge_alpha: float = setting(1.0, "ridge penalty", gt=0)
    n_pca_components: int = setting(64, "components of the voxel PCA, fitted in the fold", ge=1)
    n_halvings: int = setting(10, "random splits of the people into halves behind an interval", ge=3)
    n_random_labels: int = setting(0, "random labels probed as a control; 0: none", ge=0)
    n_permutations: int = setting(200, "permutations behind a site-matched AUC", ge=20)
    n_matched_repeats: int = setting(20, "repeated fold assignments behind a site-matched AUC", ge=1)
    columns: dict[str, Literal["classification", "regression"]] = setting(
        dict,
        "columns of participants.tsv, or of the label table, that are probed beside the paper's tasks",
        is_apart=True,
    )
    readouts: Annotated[tuple[Readout, ...], EachOnce] = setting(
        (), "other readouts beside the linear probe of everyone", is_apart=True
    )
    min_class_people: int = setting(5, "classes with fewer people are dropped and named", ge=2)
    finetune: FinetuneSettings = setting(FinetuneSettings, "our encoder, fine-tuned on a task", is_apart=True)
