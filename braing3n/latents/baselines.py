"""Features that no training made: an untrained encoder, raw patches, coarse voxels, a histogram."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from braing3n import training
from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import track
from braing3n.latents.settings import LatentsSettings
from braing3n.pretrain.model import MaskedAutoencoder, patchify
from braing3n.pretrain.settings import PretrainSettings

N_BINS = 20
Z_LIMIT = 4.0  # the histogram's end bins take what lies beyond
MOST_VOXELS = 10_000  # numbers a volume; at 35,309 volumes this is 1.4 GB
MOST_TOKEN_NUMBERS = 2**28  # of all volumes' flattened tokens: 1 GB


def compute_features(
    name: str,
    volumes: training.Volumes,
    settings: LatentsSettings,
    pretrain: PretrainSettings,
    device: torch.device,
) -> np.ndarray:
    """The features float32 (N, F) of one baseline.

    Raises:
        ConfigurationError: no such baseline, or one that is too large for so many volumes.
    """
    if name in ("untrained", "untrained_flattened"):
        return encode_untrained(volumes, settings, pretrain, device, name == "untrained_flattened")
    measures = {
        "patches": partial(summarise_patches, patch_size=pretrain.patch_size),
        "voxels": average_voxels,
        "histogram": count_levels,
    }
    if name not in measures:
        known = ", ".join(["untrained", "untrained_flattened", *measures])
        raise ConfigurationError(f"latents: no baseline '{name}'; known: {known}.")
    rows = track(range(len(volumes)), f"latents: {name}", len(volumes))
    return np.stack([measures[name](*volumes.load(i)) for i in rows])


@torch.no_grad()
def encode_untrained(
    volumes: training.Volumes,
    settings: LatentsSettings,
    pretrain: PretrainSettings,
    device: torch.device,
    is_flattened: bool = False,
) -> np.ndarray:
    """Mean tokens (N, width) of the same encoder as it starts, from the seed after the trained one's.

    Flattened: all its tokens (N, tokens * width).
    """
    torch.manual_seed(pretrain.seed + 1)
    encoder = MaskedAutoencoder(pretrain, volumes.shape).to(device).eval()
    n_numbers = len(volumes) * encoder.n_tokens * pretrain.width
    if is_flattened and n_numbers > MOST_TOKEN_NUMBERS:
        raise ConfigurationError(
            f"latents.encoders: untrained_flattened would take {4 * n_numbers / 1e9:.1f} GB "
            f"({len(volumes):,} volumes of {encoder.n_tokens} tokens); leave it out of large runs."
        )
    batches = training.cut_batches(np.arange(len(volumes)), settings.batch_size)
    loaded = track(training.load_batches(volumes, batches, device=device), "latents: untrained", len(batches))
    with training.autocast(device, settings):
        tokens = (encoder.encode(volume).float() for volume in loaded)
        features = [(t.flatten(1) if is_flattened else t.mean(dim=1)).cpu().numpy() for t in tokens]
    return np.concatenate(features)


def summarise_patches(image: np.ndarray, mask: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean and deviation over all patches of each voxel's place in its patch: (2 * patch_size^3,).

    What the mean over tokens keeps of raw patches, without a network.
    """
    del mask  # the image is 0 outside it
    patches = patchify(torch.from_numpy(image)[None, None], patch_size)[0].numpy()
    return np.concatenate([patches.mean(axis=0), patches.std(axis=0)])


def average_voxels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The z-scored crop averaged over the smallest cubes (2, 4, 8 ...) that leave at most 10,000 numbers.

    image is (D, H, W); axes that the cube does not divide are padded with background.
    """
    del mask  # the image is 0 outside it
    edge = 2
    while np.prod([-(-n // edge) for n in image.shape]) > MOST_VOXELS:
        edge *= 2
    padded = np.pad(image, [(0, -n % edge) for n in image.shape])
    d, h, w = (n // edge for n in padded.shape)
    return padded.reshape(d, edge, h, edge, w, edge).mean(axis=(1, 3, 5), dtype=np.float32).ravel()


def count_levels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of brain voxels in each of 20 bins of z from -4 to 4."""
    levels = np.clip(image[mask], -Z_LIMIT, Z_LIMIT)
    counts, _ = np.histogram(levels, bins=N_BINS, range=(-Z_LIMIT, Z_LIMIT))
    return (counts / max(1, counts.sum())).astype(np.float32)
