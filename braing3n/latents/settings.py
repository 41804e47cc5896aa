"""Settings of latents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator

from braing3n.core.settings import EachOnce, Precision, Settings, setting
from braing3n.encoders import list_encoders


class ForeignSettings(Settings):
    """Encoders of others (`docs/encoders.md`)."""

    weights: dict[str, str] = setting(
        dict, "encoder -> file of its official weights; none: its scores are n/a, with where to get them"
    )
    sha256: dict[str, str] = setting(
        dict, "encoder -> digest that its file of weights must have; none: it is recorded, not checked"
    )
    channel_fill: Literal["replicate", "slot"] = setting(
        "replicate",
        "brainsegfounder: a volume in every channel, or in its contrast's alone",
    )
    medicalnet_background: Literal["zero", "noise"] = setting(
        "zero",
        "outside the brain: 0, or normal noise as in its authors' training, from a seed for each volume",
    )

    @field_validator("weights", "sha256")
    @classmethod
    def _are_foreign(cls, given: dict[str, str]) -> dict[str, str]:
        for name in given:
            if name not in list_encoders("foreign"):
                known = ", ".join(list_encoders("foreign"))
                raise ValueError(f"'{name}' is no encoder of others ({known})")
        return given


class LatentsSettings(Settings):
    """Caching tokens and pooled features."""

    batch_size: int = setting(16, "volumes encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of encoding")
    encoders: Annotated[tuple[str, ...], EachOnce] = setting(
        ("mae", "untrained", "patches", "voxels", "histogram", "tissue"),
        "files of braing3n/encoders whose features are probed; mae is ours",
        is_apart=True,
    )
    n_parts: int = setting(
        1,
        "jobs that share the volumes of each encoder that this run does not train; for a large corpus on a "
        "cluster, one a thousand volumes; another number extracts their features again",
        is_apart=True,
        ge=1,
    )
    foreign: ForeignSettings = setting(
        ForeignSettings, "weights and inputs of others' encoders", is_apart=True
    )

    @field_validator("encoders")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in list_encoders():
                raise ValueError(f"'{name}' is no file of braing3n/encoders ({', '.join(list_encoders())})")
        return names
