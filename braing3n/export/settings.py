"""Settings of export."""

from __future__ import annotations

from braing3n.core.settings import Settings, setting


class ExportSettings(Settings):
    """What the model folder says of itself."""

    name: str = setting("braing3n", "name of the model, on its card")
    licence: str = setting("apache-2.0", "licence of the weights, as the Hugging Face hub names it")
    n_components: int = setting(64, "principal components in which the distance of a scan is measured", ge=1)
    min_count: int = setting(
        5, "people below which a count is not published; counts are rounded down to multiples of it", ge=1
    )
