"""Settings of latents."""

from __future__ import annotations

from typing import Literal

from braing3n.core.settings import Precision, Settings, setting


class LatentsSettings(Settings):
    """Caching tokens and pooled features."""

    batch_size: int = setting(16, "volumes encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of encoding")
    encoders: tuple[
        Literal["mae", "untrained", "untrained_flattened", "patches", "voxels", "histogram"], ...
    ] = setting(
        ("mae", "untrained", "patches", "voxels", "histogram"),
        "whose features are probed; mae is ours; untrained_flattened is for small runs",
        is_apart=True,
    )
