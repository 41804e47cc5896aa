"""What hidden patches can be predicted by without an encoder, on the masks of the validation loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.pretrain.masks import draw_validation_noise
from braing3n.pretrain.model import N_PRINCIPAL_IMAGES, MaskedAutoencoder, patchify
from braing3n.pretrain.verdict import CLAIMED

MOST_VOLUMES = 256  # training volumes a modality that the baselines are made of
BATCH_SIZE = 64  # volumes whose components are computed at once


class Baselines:
    """Mean images, and in-painting by principal components, of training volumes in the target's units.

    In-painting is the ridge regression that probabilistic PCA implies (Tipping and Bishop 1999): of the
    components' scores on the visible voxels, each score shrunk by its variance, with white noise beside.

    Attributes:
        n_volumes: training volumes that they are made of.
        mean: (N, voxels), of all of them.
        mean_of: the same by modality.
    """

    def __init__(self, images: Iterator[np.ndarray], modalities: list[np.ndarray]):
        """images are batches of targets (n, N, voxels), modalities their modalities (n,)."""
        from sklearn.decomposition import IncrementalPCA

        sums: dict[str, np.ndarray] = {}
        counts: dict[str, int] = {}
        for batch, names in zip(images, modalities, strict=True):
            if not sums:
                pca = IncrementalPCA(min(N_PRINCIPAL_IMAGES, len(batch)))
            for name in np.unique(names):
                own = batch[names == name]
                sums[name] = sums.get(name, 0) + own.sum(axis=0, dtype=np.float64)
                counts[name] = counts.get(name, 0) + len(own)
            pca.partial_fit(batch.reshape(len(batch), -1))
        self.n_volumes = sum(counts.values())
        self.mean = sum(sums.values(), np.zeros(())) / self.n_volumes
        self.mean_of = {name: total / counts[name] for name, total in sums.items()}
        self._components = pca.components_.reshape(-1, *self.mean.shape)
        self._variances = pca.explained_variance_
        total = pca.var_.sum() * self.n_volumes / max(1, self.n_volumes - 1)  # var_ divides by n
        self._noise = max(0.0, total - self._variances.sum()) / self.mean.size

    @property
    def principal_images(self) -> np.ndarray:
        """The components, each as far from 0 as a deviation of its scores: (5, N, voxels); of few, zeros."""
        images = self._components * np.sqrt(self._variances)[:, None, None]
        return np.pad(images, ((0, N_PRINCIPAL_IMAGES - len(images)), (0, 0), (0, 0))).astype(np.float32)

    def predict(self, image: np.ndarray, is_visible: np.ndarray, modality: str) -> dict[str, np.ndarray]:
        """Each baseline's image (N, voxels) of one whose patches (N,) are partly visible."""
        seen = self._components[:, is_visible].reshape(len(self._components), -1).astype(np.float64)
        offset = (image[is_visible] - self.mean[is_visible]).ravel()
        penalty = np.diag(self._noise / np.maximum(self._variances, np.finfo(float).tiny))
        scores = np.linalg.lstsq(seen @ seen.T + penalty, seen @ offset)[0]
        return {
            "zero": np.zeros_like(self.mean),
            "mean_image": self.mean,
            CLAIMED: self.mean_of.get(modality, self.mean),
            "in_painting": self.mean + np.tensordot(scores, self._components, 1),
        }


def measure_baselines(run: training.Run, net: MaskedAutoencoder, volumes: training.Volumes) -> pd.DataFrame:
    """Each baseline's loss over the validation split: the contract `masked_loss`, without the encoder.

    Patches, masks and units are those of the validation loss; NaN where the split is empty.
    """
    seed, modality = net.settings.seed, volumes.table["modality"].to_numpy()
    baselines = fit_baselines(run, net, volumes)
    rows, losses = training.find_rows(volumes.table, "validation"), []
    batches = training.cut_batches(rows, BATCH_SIZE)
    for batch, images in zip(batches, _load_targets(volumes, batches, net, run.device), strict=True):
        order = draw_validation_noise(batch, net.n_tokens, seed).argsort(dim=1).numpy()
        for row, image, places in zip(batch, images, order, strict=True):
            is_visible = np.isin(np.arange(net.n_tokens), places[: net.n_visible])
            predicted = baselines.predict(image, is_visible, modality[row])
            losses.append(
                {name: np.square(made - image)[~is_visible].mean() for name, made in predicted.items()}
            )
    names = list(losses[0]) if losses else ["zero", "mean_image", CLAIMED, "in_painting"]
    found = pd.DataFrame(losses, columns=names).mean()
    return pd.DataFrame(
        {
            "predictor": names,
            "loss": found.to_numpy(float),
            "n_volumes": len(rows),
            "n_training_volumes": [0, *[baselines.n_volumes] * 3],
        }
    )


def fit_baselines(run: training.Run, net: MaskedAutoencoder, volumes: training.Volumes) -> Baselines:
    """The baselines of at most `MOST_VOLUMES` training volumes of each modality."""
    modality = volumes.table["modality"].to_numpy()
    batches = training.cut_batches(_choose_rows(volumes.table, net.settings.seed), BATCH_SIZE)
    return Baselines(_load_targets(volumes, batches, net, run.device), [modality[rows] for rows in batches])


def _choose_rows(table: pd.DataFrame, seed: int) -> np.ndarray:
    """At most `MOST_VOLUMES` training volumes of each modality, mixed, drawn by the seed."""
    rows = training.find_rows(table, "train")
    order = torch.randperm(len(rows), generator=training.make_generator(seed, "baselines")).numpy()
    chosen = table.iloc[rows[order]].groupby("modality", sort=False).cumcount() < MOST_VOLUMES
    return rows[order][chosen.to_numpy()]


def _load_targets(volumes, batches, net: MaskedAutoencoder, device) -> Iterator[np.ndarray]:
    """Targets (n, N, voxels) of each batch of rows."""
    for volume in training.load_batches(volumes, batches, device=device):
        yield net.make_target(patchify(volume, net.settings.patch_size)).cpu().numpy()
