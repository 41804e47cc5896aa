"""BrainDINO, whose weights are announced and not published: a place for them, and until then a reason."""

from __future__ import annotations

from braing3n.core.errors import MissingWeightsError

SECTIONS = ("latents.foreign",)
HAS_PCA = False


def compute(volumes, settings, sections, device, part_dir):
    """No features.

    Raises:
        MissingWeightsError: always.
    """
    raise MissingWeightsError(
        "braindino: its weights are not published; the authors announce them for when their paper is "
        "out (github.com/mclwu22/BrainDINO)."
    )
