"""The sizes of a DiT that trains in a second, shared by the tests of this folder."""

from braing3n.config import DiffusionSettings, OptimiserSettings
from braing3n.diffusion.settings import SamplingSettings

GRID, D = (2, 2, 2), 3
SETTINGS = DiffusionSettings(
    depth=1,
    width=16,
    n_heads=2,
    diseases=("HC", "AD", "GBM"),
    n_sites=2,
    sampling=SamplingSettings(n_samples=3, n_steps=4),
    optimiser=OptimiserSettings(
        lr=3e-3, batch_size=4, n_epochs=10, n_warmup_epochs=1, gradient_clip=1.0, checkpoint_every_steps=6
    ),
)
