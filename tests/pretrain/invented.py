"""Invented volumes for the tests of the models."""

import numpy as np
import pandas as pd


class InventedVolumes:
    """Noise with a structure that differs by volume, in the interface of PackedVolumes."""

    def __init__(self, n=12, shape=(8, 8, 8), seed=0):
        rng = np.random.default_rng(seed)
        splits = ["train"] * (n - n // 3) + ["validation"] * (n // 6) + ["test"] * (n // 3 - n // 6)
        self.table = pd.DataFrame(
            {
                "volume_id": [f"v{i:02d}" for i in range(n)],
                "split": splits,
                "modality": (["T1", "T1", "T2"] * n)[:n],
                "dx": (["HC", "AD"] * n)[:n],
                "sex": (["F", "M", "M"] * n)[:n],
                "site": (["a", "b", "b", "c"] * n)[:n],
                "age_years": np.linspace(20, 80, n),
            }
        )
        self.mask = np.zeros(shape, bool)
        self.mask[1:-1, 1:-1, 1:-1] = True
        axis = np.linspace(-2, 2, shape[0])[:, None, None]
        images = [rng.normal() * axis + rng.normal(size=shape) * 0.3 for _ in range(n)]
        self.images = [np.where(self.mask, image, 0).astype(np.float32) for image in images]

    def __len__(self):
        return len(self.images)

    @property
    def shape(self):
        return self.mask.shape

    def load(self, i):
        return self.images[i], self.mask

    def load_levels(self, i, out):
        """No level, and every voxel distinct: so images need not be multiples of a level, or numbers."""
        out[...] = 0
        return np.arange(out.size), self.images[i].ravel()
