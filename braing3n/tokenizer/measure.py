"""How well volumes survive the tokenizer: MSE, PSNR and SSIM over the crop and inside the brain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from braing3n import training
from braing3n.errors import ConfigurationError
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.runtime import track, write_atomically
from braing3n.tokenizer.model import Tokenizer, reconstruct

Z_RANGE = 14.7  # z units; derived from the paper's MSE and PSNR, which agree on it in all rows of Table 5


def measure_reconstruction(
    encoder: MaskedAutoencoder, tokenizer: Tokenizer, volumes: training.Volumes, device: torch.device
) -> dict:
    """The metrics on the test split, or on the validation split where there is no test split.

    MSE is the mean over volumes, PSNR that of the mean MSE for a range of 14.7 z units, SSIM the mean
    over volumes of the Gaussian-window index (Wang et al. 2004) over the crop, and of its map inside
    the brain mask. n_volumes and the split stand beside them.

    Raises:
        ConfigurationError: there is neither a test nor a validation volume.
    """
    rows, split = choose_rows(volumes)
    scores = {"crop": [], "brain": []}
    for row in track(rows, "tokenizer: metrics", len(rows)):
        image, mask = volumes.load(int(row))
        batch = torch.from_numpy(image)[None, None].to(device)
        other = reconstruct(encoder, tokenizer, batch)[0, 0].float().cpu().numpy()
        for region, pair in _compare(image, other, mask).items():
            scores[region].append(pair)
    return {
        "split": split,
        "n_volumes": len(rows),
        "d": tokenizer.settings.d,
        "n_numbers_a_volume": tokenizer.n_channels * int(np.prod(tokenizer.grid)),
        "psnr_range_z": Z_RANGE,
        "n_parameters": tokenizer.count_parameters(),
        **{region: _summarise(np.array(pairs)) for region, pairs in scores.items()},
    }


def choose_rows(volumes: training.Volumes) -> tuple[np.ndarray, str]:
    """The rows that are measured and the split that they are."""
    for split in ("test", "validation"):
        rows = training.find_rows(volumes.table, split)
        if len(rows):
            return rows, split
    raise ConfigurationError(
        "tokenizer: there is no test or validation volume to measure on; give more subjects or other splits."
    )


def _compare(image: np.ndarray, other: np.ndarray, mask: np.ndarray) -> dict[str, tuple[float, float]]:
    """(MSE, SSIM) of one volume by region."""
    from skimage.metrics import structural_similarity

    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim, ssim_map = structural_similarity(image, other, data_range=Z_RANGE, full=True, **window)
    error = (image.astype(np.float64) - other) ** 2
    return {"crop": (error.mean(), ssim), "brain": (error[mask].mean(), ssim_map[mask].mean())}


def _summarise(pairs: np.ndarray) -> dict[str, float]:
    mse, ssim = pairs.mean(axis=0)
    return {"mse": float(mse), "psnr_db": float(10 * np.log10(Z_RANGE**2 / mse)), "ssim": float(ssim)}


def draw_reconstructions(
    encoder: MaskedAutoencoder,
    tokenizer: Tokenizer,
    volumes: training.Volumes,
    path: Path,
    device: torch.device,
) -> None:
    """A picture of one measured volume a modality: the real one beside its reconstruction, three planes."""
    from braing3n.picture import draw_volumes

    rows, _ = choose_rows(volumes)
    first = volumes.table.iloc[rows].drop_duplicates("modality").index
    drawn = {}
    for row in first:
        image = volumes.load(int(row))[0]
        batch = torch.from_numpy(image)[None, None].to(device)
        other = reconstruct(encoder, tokenizer, batch)[0, 0].float().cpu().numpy()
        name = volumes.table.loc[row, "modality"]
        drawn |= {f"{name}, real": image, f"{name}, reconstructed": other}
    with write_atomically(path) as beside:
        draw_volumes(drawn, beside)
