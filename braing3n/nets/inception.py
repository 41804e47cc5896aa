"""Inception V3 as the FID is defined on it, from the weight file that a user brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from braing3n.core.errors import CheckpointError, MissingPackageError
from braing3n.nets.weight_file import check_digest

SHA256_PREFIX = "6726825d"
WIDTH = 2048
FILE_NAME = f"weights-inception-2015-12-05-{SHA256_PREFIX}.pth"
SOURCE = f"{FILE_NAME} of torch-fidelity's release v0.2.0 (github.com/toshas/torch-fidelity)"
NO_WEIGHTS = f"no Inception weights are given; they are {SOURCE}"
NO_PACKAGE = "the package torch-fidelity is not installed; add it in the checkout: pip install '.[fidelity]'"


class Inception:
    """The 2,048 pooled features of images, as torch-fidelity computes them.

    Raises:
        MissingPackageError: torch-fidelity is not installed.
        CheckpointError: the file is missing, is another one, or does not fit the network.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise MissingPackageError(f"{NO_PACKAGE}.") from None
        check_digest(path, SHA256_PREFIX, SOURCE)
        try:
            torch.load(path, map_location="cpu", weights_only=True)  # tensors alone: nothing is executed
            network = FeatureExtractorInceptionV3("inception", ["2048"], str(path))
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{path}: does not fit Inception V3 ({reason[:160]}); get {SOURCE}."
            ) from None
        self.network, self.device = network.to(device), torch.device(device)

    @torch.no_grad()
    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        """Features float32 (n, 2048) of grey uint8 images (rows, columns), which may differ in size."""
        features = np.zeros((len(images), WIDTH), np.float32)
        for shape in sorted({image.shape for image in images}):
            rows = [k for k, image in enumerate(images) if image.shape == shape]
            batch = torch.from_numpy(np.stack([images[k] for k in rows]))[:, None].expand(-1, 3, -1, -1)
            features[rows] = self.network(batch.to(self.device))[0].float().cpu().numpy()
        return features
