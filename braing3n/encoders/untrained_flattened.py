"""The same encoder as it starts: all its tokens, one after another; for small runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braing3n.encoders.untrained import encode_untrained

if TYPE_CHECKING:
    import numpy as np

SECTIONS = ("pretrain",)
HAS_PCA = True


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """All tokens, float32 (N, tokens * width).

    Raises:
        ConfigurationError: they would take too much for so many volumes.
    """
    return encode_untrained(volumes, settings, sections["pretrain"], device, part_dir, is_flattened=True)
