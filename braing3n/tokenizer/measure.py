"""How well volumes survive the tokenizer: MSE, PSNR and SSIM over the crop and inside the brain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from braing3n import training
from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import track, write_atomically, write_if_changed

Reconstruct = Callable[[torch.Tensor], torch.Tensor]  # volumes (B, 1, D, H, W) to the same
Z_RANGE = 14.7  # z units; derived from the paper's MSE and PSNR, which agree on it in all rows of Table 5


def measure_reconstruction(
    reconstruct: Reconstruct, volumes: training.Volumes, device: torch.device, facts: dict
) -> dict:
    """The metrics on the test split, or on the validation split where there is no test split.

    reconstruct takes volumes (B, 1, D, H, W) to the same; facts of the model stand among the metrics.

    MSE is the mean over volumes, PSNR that of the mean MSE for a range of 14.7 z units, SSIM the mean
    over volumes of the Gaussian-window index (Wang et al. 2004) over the crop, and of its map inside
    the brain mask. n_volumes and the split stand beside them.

    Raises:
        ConfigurationError: there is neither a test nor a validation volume.
    """
    rows, split = choose_rows(volumes)
    scores: dict[str, list[tuple[float, float]]] = {"crop": [], "brain": []}
    for row in track(rows, "tokenizer: metrics", len(rows)):
        image, mask = volumes.load(int(row))
        other = _reconstruct_one(reconstruct, image, device)
        for region, pair in _compare(image, other, mask).items():
            scores[region].append(pair)
    return {
        "split": split,
        "n_volumes": len(rows),
        "psnr_range_z": Z_RANGE,
        **facts,
        **{region: _summarise(np.array(pairs)) for region, pairs in scores.items()},
    }


@torch.no_grad()
def _reconstruct_one(reconstruct: Reconstruct, image: np.ndarray, device: torch.device) -> np.ndarray:
    """The reconstruction (D, H, W) of one image (D, H, W)."""
    batch = torch.from_numpy(image)[None, None].to(device)
    return reconstruct(batch)[0, 0].float().cpu().numpy()


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
    reconstruct: Reconstruct, volumes: training.Volumes, path: Path, device: torch.device
) -> None:
    """A picture of one measured volume a modality: the real one beside its reconstruction, three planes."""
    from braing3n.training.picture import draw_volumes

    rows, _ = choose_rows(volumes)
    first = volumes.table.iloc[rows].drop_duplicates("modality").index
    drawn: dict[str, np.ndarray] = {}
    for row in first:
        image = volumes.load(int(row))[0]
        other = _reconstruct_one(reconstruct, image, device)
        name = volumes.table.loc[row, "modality"]
        drawn |= {f"{name}, real": image, f"{name}, reconstructed": other}
    with write_atomically(path) as beside:
        draw_volumes(drawn, beside)


def show_reconstructions(
    function: Reconstruct, volumes, device: torch.device, facts: dict, metrics_path: Path, picture_path: Path
) -> None:
    """Measure the reconstructions of held-out people into a JSON file, with facts, and draw some of them."""
    scores = measure_reconstruction(function, volumes, device, facts)
    write_if_changed(metrics_path, json.dumps(scores, indent=1) + "\n")
    draw_reconstructions(function, volumes, picture_path, device)
