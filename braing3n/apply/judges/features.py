"""Features by which volumes are compared: of published networks, of our encoder, or coarse voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braing3n.apply.judges.folders import Lattice, VolumeFolder
from braing3n.core.errors import MissingPackageError
from braing3n.encoders.voxels import average_voxels

if TYPE_CHECKING:
    from braing3n.export.pretrained import Pretrained

INCEPTION, MAE, VOXELS = "Inception V3, 30 slices a volume", "MAE, mean token", "coarse voxels"
MEDICAL = {"radimagenet": "RadImageNet, 30 slices a volume", "medicalnet": "MedicalNet, whole volume"}


@dataclass(frozen=True)
class Feature:
    """A kind of features.

    Attributes:
        name: as it stands in the tables.
        compute: volume in z units (D, H, W) -> rows (k, F).
        why_not: the reason why these features cannot be computed; empty: they can.
    """

    name: str
    compute: Callable[[np.ndarray], np.ndarray] | None
    why_not: str = ""


def open_features(
    model: Pretrained | None, weights: Path | None, mask_of: VolumeFolder, medical: dict[str, Path | None]
) -> list[Feature]:
    """The features that this call can compute, and Inception's with the reason if it cannot.

    With a model folder, our encoder's features replace coarse voxels.

    Args:
        weights: Inception's weight file.
        mask_of: the folder whose common mask and box all volumes have.
        medical: weight files of `MEDICAL`; a network without a file is not used.

    Raises:
        CheckpointError: a weight file is given and is not the official one.
    """
    from braing3n.fidelity.other_features import SLOTS
    from braing3n.fidelity.settings import FidelitySettings
    from braing3n.fidelity.slices import apply_window, cut_slices
    from braing3n.nets.inception import NO_WEIGHTS, Inception

    def see(network, cut: Callable[[np.ndarray], list[np.ndarray]]) -> Callable[[np.ndarray], np.ndarray]:
        assert mask_of.mask is not None
        mask = mask_of.mask
        return lambda volume: network.encode(cut(apply_window(volume, mask)))

    found = []
    if weights is None:
        found.append(Feature(INCEPTION, None, NO_WEIGHTS))
    else:
        try:
            found.append(Feature(INCEPTION, see(Inception(weights, choose_device(model)), cut_slices)))
        except MissingPackageError as error:
            found.append(Feature(INCEPTION, None, str(error).removesuffix(".")))
    for slot in SLOTS:
        if path := medical.get(slot.name):
            settings = FidelitySettings.model_validate({f"{slot.name}_weights": str(path)})
            network = slot.open(settings, choose_device(model))
            found.append(Feature(MEDICAL[slot.name], see(network, slot.cut)))
    if model is not None:
        found.append(Feature(MAE, lambda volume: encode(model, volume).mean(axis=0)[None]))
    else:
        found.append(Feature(VOXELS, lambda volume: average_voxels(volume, volume != 0)[None]))
    return found


def choose_device(model: Pretrained | None) -> str:
    """The model's device, or without a model the fastest one."""
    from braing3n.export.pretrained import choose_device as choose

    return str(model.device if model is not None else choose("auto"))


def open_model(folder: Path | None) -> tuple[Pretrained | None, Lattice | None]:
    """A model folder and the box that its encoder takes; None for both without a folder."""
    if folder is None:
        return None, None
    from braing3n.export.pretrained import from_pretrained
    from braing3n.volumes.pack import locate_grid

    model = from_pretrained(folder)
    return model, Lattice.of(locate_grid(model.volumes, model.preprocess.spacing_mm), model.volumes.shape)


def encode(model: Pretrained, volume: np.ndarray, is_latent: bool = False) -> np.ndarray:
    """The encoder's tokens (T, width) of a volume (D, H, W), or its latent tokens (T, d)."""
    import torch

    tokens = model.encode(torch.from_numpy(volume)[None, None])
    return (model.project(tokens) if is_latent else tokens)[0].float().cpu().numpy()
