"""What no section can check alone: settings that must fit one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braing3n.config import Config


def find_misfit(config: Config) -> str:
    """The first pair of settings that do not fit, in one sentence; empty where all do."""
    ratio = config.volumes.spacing_mm / config.preprocess.spacing_mm
    if abs(ratio - round(ratio)) > 1e-6 or ratio < 1:
        return "volumes.spacing_mm must be a whole multiple of preprocess.spacing_mm"
    if any(n % config.pretrain.patch_size for n in config.volumes.shape):
        return "volumes.shape must be divisible by pretrain.patch_size"
    if 2 ** len(config.tokenizer.widths) != config.pretrain.patch_size:
        return "tokenizer.widths must have one width a doubling up to pretrain.patch_size"
    if config.fidelity.precision != config.latents.precision:
        return "fidelity.precision must be latents.precision: their features are compared"
    if config.manifest.train + config.manifest.validation >= 1:
        return "manifest.train and manifest.validation must leave a share for the test split"
    return _find_indivisible(config)


def _find_indivisible(config: Config) -> str:
    """A width that its heads, or the three axes of the sine-cosine code, do not divide."""
    widths = {
        "pretrain.width": (config.pretrain.width, config.pretrain.n_heads),
        "pretrain.decoder_width": (config.pretrain.decoder_width, config.pretrain.decoder_n_heads),
    }
    for name, (width, n_heads) in widths.items():
        if width % 6 or width % n_heads:
            return f"{name}: {width} must be divisible by 6 and by its {n_heads} heads"
    if config.diffusion.width % config.diffusion.n_heads:
        return "diffusion.width must be divisible by diffusion.n_heads"
    return ""
