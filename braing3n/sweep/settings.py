"""Settings of sweep: Table 5, the bottlenecks and the baseline tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import create_model

from braing3n.core.settings import EachOnce, Seed, Settings, setting
from braing3n.sweep.baselines import list_baselines, load
from braing3n.tokenizer.settings import Bottleneck

Modality = Literal["T1", "T1c", "T2", "FLAIR"]
Budget = Literal["compute", "epochs"]


class SweepProbeSettings(Settings):
    """What is read from the tokens of each arm."""

    tasks: Annotated[tuple[str, ...], EachOnce] = setting(
        ("idh1", "grade"), "tasks that are probed", "given", min_length=1
    )
    n_pca_components: int = setting(
        256, "principal components of the flattened reading, fitted in the fold", ge=1
    )


class _ArmSettings(Settings):
    """Table 5: encoder, tokenizers and baselines from scratch on one volume a person of a few cohorts."""

    cohorts: Annotated[tuple[str, ...], EachOnce] = setting(
        ("ucsf_pdgm", "upenn_gbm"),
        "cohorts whose people the sweep uses, as far as the run has them; none: no sweep",
        "given",
    )
    modality: Modality = setting("T1c", "modality of the one volume of each person")
    test: float = setting(0.20, "share of groups that are held out for the metrics", "given", gt=0, lt=1)
    validation: float = setting(0.05, "share of the other groups, for early stopping", gt=0, lt=1)
    seed: Seed = setting(2025, "salt of the split's hash")
    d: Annotated[tuple[Bottleneck, ...], EachOnce] = setting(
        (32, 128, 512, "none"),
        "channels a token of each arm; none: no projection",
        "given",
        is_apart=True,
        min_length=1,
    )
    budgets: Annotated[tuple[Budget, ...], EachOnce] = setting(
        ("compute", "epochs"),
        "a baseline is trained with each: the operations (as the paper) or the epochs of MAE and tokenizer",
        is_apart=True,
    )
    probe: SweepProbeSettings = setting(SweepProbeSettings, "probes of the arms' tokens", is_apart=True)


if TYPE_CHECKING:

    class SweepSettings(_ArmSettings):
        """A section of each baseline's settings beside them, whose names only the folder knows."""

        def __getattr__(self, name: str) -> Any: ...

else:
    SweepSettings = create_model(
        "SweepSettings",
        __base__=_ArmSettings,
        __doc__=_ArmSettings.__doc__,
        __module__=__name__,
        **{
            name: (
                load(name).SETTINGS,
                setting(load(name).SETTINGS, f"the baseline tokenizer {name}", is_apart=True),
            )
            for name in list_baselines()
        },
    )
