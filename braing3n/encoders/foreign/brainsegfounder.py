"""BrainSegFounder (Swin transformer, SSL; Cox et al. 2024): the mean of its fourth stage, 768 numbers.

The file says which one it is: 2 channels (T1, FLAIR; UK Biobank) or 4 (FLAIR, T1c, T1, T2; BraTS). A volume
has one contrast, so `latents.foreign.channel_fill` says what the channels get: `replicate`, the volume each,
or `slot`, its contrast's channel the volume and the others what lies outside a brain (of UK Biobank's two,
T1c counts as T1 and T2 as FLAIR).

As published: the net, and its map of the fourth stage; UK Biobank turned to R-A-S and scaled from
-1000 .. 1000 to 0 .. 1; BraTS as stored, mean 0 and deviation 1 over voxels that are not 0, as the authors
fine-tune it. Chosen, since no feature recipe is published: the mean over the map, the whole volume at 1 mm in
place of crops of 96^3, the order of BraTS's channels, and UK Biobank's gain, which a z-score has lost: the
99.9th percentile of the brain counts as 1000. Shift: UK Biobank's scans are in MNI, and both had all their
contrasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braing3n.core.errors import CheckpointError
from braing3n.encoders.foreign import Release, encode_volumes, load_net, take_part

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SECTIONS = ("latents.foreign",)
HAS_PCA = False
RELEASE = Release(
    "brainsegfounder",
    "model_weights_UKB-pretrain.pt or model_weights_BRATS-pretrain.pt",
    "huggingface.co/smilelab/BrainSegFounder",
    "terms of the UK Biobank's material transfer agreement; code GPL-3.0",
)
# Which channel a contrast has, by the number of channels.
SLOTS = {2: {"T1": 0, "T1c": 0, "FLAIR": 1, "T2": 1}, 4: {"FLAIR": 0, "T1c": 1, "T1": 2, "T2": 3}}


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """The mean over the fourth stage's map, float32 (N, 768).

    Raises:
        MissingWeightsError: the weights are not there.
        CheckpointError: the file holds another net, or one of other channels.
    """
    from braing3n.nets.checkpoint import read_checkpoint
    from braing3n.nets.foreign.swin import SwinTransformer

    path = RELEASE.find(settings)
    tensors = rename(take_part(read_checkpoint(path), "swinViT.", path))
    stem = tensors.get("patch_embed.proj.weight")
    n_channels = 0 if stem is None else stem.shape[1]
    if n_channels not in SLOTS:
        what = f"{n_channels} input channels, neither UK Biobank's 2 nor BraTS's 4"
        raise CheckpointError(f"{path}: has {what}.")
    net = load_net(SwinTransformer(n_channels), path, tensors, device)
    modalities = volumes.table["modality"].tolist()
    is_slot = settings.foreign.channel_fill == "slot"

    def prepare_row(row: int, image: Tensor, mask: Tensor) -> Tensor:
        return prepare(image, mask, n_channels, SLOTS[n_channels][modalities[row]] if is_slot else None)

    def encode(batch: Tensor) -> Tensor:
        return net(batch).mean(dim=(2, 3, 4))

    return encode_volumes(
        "brainsegfounder", prepare_row, encode, net.n_features, volumes, settings, device, part_dir
    )


def rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of MONAI before 1.0 in those of later ones: a perceptron's layers were `fc1` and `fc2`."""
    return {name.replace(".mlp.fc", ".mlp.linear"): tensor for name, tensor in tensors.items()}


def prepare(image: Tensor, mask: Tensor, n_channels: int, slot: int | None = None) -> Tensor:
    """(D, H, W) -> (n_channels, 160, 192, 160); slot: the channel that alone gets the volume."""
    import torch

    from braing3n.nets.foreign.inputs import FULL_SHAPE, resize, restore_intensities, standardise

    volume = resize(restore_intensities(image, mask), FULL_SHAPE)
    if n_channels == 4:
        filled, empty = standardise(volume, volume != 0), 0.0
    else:
        filled, empty = scale_as_biobank(volume), 0.5
    if slot is None:
        return filled.expand(n_channels, -1, -1, -1)
    channels = torch.full((n_channels, *filled.shape), empty)
    channels[slot] = filled
    return channels


def scale_as_biobank(volume: Tensor) -> Tensor:
    """R-A-S, and -1000 .. 1000 to 0 .. 1 with the brain's brightest as 1000: 0.5 outside the brain."""
    import torch

    from braing3n.nets.foreign.inputs import BRIGHTEST, turn_to_ras

    inside = volume[volume > 0].sort().values
    brightest = inside[int(BRIGHTEST * (len(inside) - 1))] if len(inside) else torch.tensor(1.0)
    return 0.5 + 0.5 * (turn_to_ras(volume) / brightest).clamp(0, 1)
