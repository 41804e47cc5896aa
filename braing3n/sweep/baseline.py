"""A baseline tokenizer of Table 5 as one model, whichever file of `baselines/` it comes from.

Batches are (B, 1, D, H, W); a latent is (B, C, d, h, w).
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from braing3n.sweep.baselines import BaselineSettings, load


def _find_settings(record: dict[str, Any]) -> type[BaselineSettings]:
    return load(record["baseline"]).SETTINGS


class Baseline(nn.Module):
    """The network of one baseline, with what its file says of it.

    Args:
        name: the file.
        settings: its section, `sweep.<name>`.
        shape: (D, H, W) of the volumes in voxels.

    Raises:
        ConfigurationError: there is no such file, or its network cannot take this shape.
    """

    SETTINGS = staticmethod(_find_settings)

    def __init__(self, name: str, settings: BaselineSettings, shape: tuple[int, int, int]):
        super().__init__()
        self.name, self.settings, self.shape = name, settings, tuple(shape)
        self.net = self.functions.build(settings, self.shape)
        self.latent_shape = self.functions.shape_latent(settings, self.shape)
        self.n_numbers = math.prod(self.latent_shape)

    @property
    def functions(self) -> ModuleType:
        """The baseline's file, looked up by name, since a module cannot be copied with the model."""
        return load(self.name)

    def forward(self, volume: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction that learns, and the penalty beside its error.

        noise is standard normal, of the latent's shape.
        """
        return self.functions.forward(self.net, self.settings, volume, noise)

    def encode(self, volume: Tensor) -> Tensor:
        """The latent that is cached."""
        return self.functions.encode(self.net, volume)

    def decode(self, latent: Tensor) -> Tensor:
        """Volumes of latents."""
        return self.functions.decode(self.net, latent)

    def reconstruct(self, volume: Tensor) -> Tensor:
        """Volumes of their own latents."""
        return self.decode(self.encode(volume))

    def list_blocks(self) -> list[nn.Module]:
        """The modules whose activations may be recomputed."""
        return self.functions.list_blocks(self.net)

    def count_parameters(self) -> dict[str, int]:
        """Parameters of the encoder and of the decoder."""
        return self.functions.count_parameters(self.net)

    @classmethod
    def from_record(cls, settings: BaselineSettings, record: dict[str, Any]) -> Baseline:
        """The model of a weight file's record, with random weights."""
        return cls(record["baseline"], settings, tuple(record["shape"]))

    def describe(self) -> dict[str, Any]:
        """The record that a weight file needs to build this model again."""
        settings = self.settings.model_dump(mode="json")
        return {"baseline": self.name, "settings": settings, "shape": list(self.shape)}
