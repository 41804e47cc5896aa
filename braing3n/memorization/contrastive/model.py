"""The network of the contrastive copy detector: a coarse volume to a code of unit length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.memorization.settings import ContrastiveSettings

N_PLACES = 3  # along each axis: a code knows in which part of the head something lies, roughly


class CopyNet(nn.Module):
    """Three convolutions, averages over parts of the head, and a linear layer.

    A volume's own mean and deviation are taken away first, so that gain and offset of the whole box are. What
    all codes have in common is taken away last, by the batch's statistics in training and the running ones
    after it.
    """

    SETTINGS = ContrastiveSettings

    def __init__(self, settings: ContrastiveSettings):
        super().__init__()
        self.settings = settings
        widths = 1, settings.width, 2 * settings.width, 2 * settings.width
        layers: list[nn.Module] = []
        for n_in, n_out, stride in zip(widths[:-1], widths[1:], (2, 2, 1), strict=True):
            layers += [nn.Conv3d(n_in, n_out, 3, stride, 1), nn.GroupNorm(1, n_out), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(N_PLACES), nn.Flatten())
        self.head = nn.Linear(widths[-1] * N_PLACES**3, settings.n_numbers)
        self.centre = nn.BatchNorm1d(settings.n_numbers, affine=False)

    def forward(self, volume: Tensor) -> Tensor:
        """Volumes (B, 1, d, h, w) on voxels of about 8 mm -> codes (B, n_numbers) of unit length."""
        deviation, mean = torch.std_mean(volume, dim=(1, 2, 3, 4), keepdim=True)
        features = self.layers((volume - mean) / (deviation + 1e-6))
        return functional.normalize(self.centre(self.head(features)))

    @classmethod
    def from_record(cls, settings: ContrastiveSettings, record: dict[str, Any]) -> CopyNet:
        """The network of a weight file's record, with random weights."""
        return cls(settings)

    def describe(self) -> dict[str, Any]:
        """The record that a weight file needs to build this network again."""
        return {"settings": self.settings.model_dump(mode="json")}


def build_untrained(settings: ContrastiveSettings) -> CopyNet:
    """The network before its first step; the draws of others are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return CopyNet(settings)
