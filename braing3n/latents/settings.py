"""Settings of latents."""

from __future__ import annotations

from pydantic import field_validator

from braing3n.core.settings import Precision, Settings, setting
from braing3n.encoders import list_encoders


class LatentsSettings(Settings):
    """Caching tokens and pooled features."""

    batch_size: int = setting(16, "volumes encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of encoding")
    encoders: tuple[str, ...] = setting(
        ("mae", "untrained", "patches", "voxels", "histogram"),
        "files of braing3n/encoders whose features are probed; mae is ours",
        is_apart=True,
    )

    @field_validator("encoders")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in list_encoders():
                raise ValueError(f"'{name}' is no file of braing3n/encoders ({', '.join(list_encoders())})")
        return names
