"""Settings of pretrain."""

from __future__ import annotations

from typing import Literal

from braing3n.core.settings import OptimiserSettings, Seed, Settings, given_weights, setting


class PretrainSettings(Settings):
    """The masked autoencoder (phase 1)."""

    patch_size: int = setting(16, "edge of a patch", "given", "voxel", ge=1)
    depth: int = setting(12, "encoder layers", "given", ge=1)
    width: int = setting(1152, "encoder width", "given", ge=6)
    n_heads: int = setting(16, "encoder heads", "given", ge=1)
    mlp_ratio: float = setting(4.0, "MLP width over encoder width", gt=0)
    decoder_depth: int = setting(8, "decoder layers", "given", ge=1)
    decoder_width: int = setting(1152, "decoder width, divisible by 6", ge=6)
    decoder_n_heads: int = setting(16, "decoder heads", "given", ge=1)
    mask_ratio: float = setting(0.70, "share of patches hidden", "given", gt=0, lt=1)
    normalise_target: bool = setting(False, "normalise the target of each patch by its mean and deviation")
    encoder_lr_scale: float = setting(1.0, "learning rate of the encoder over that of the decoder", gt=0)
    position_code: Literal["wide", "short"] = setting(
        "wide", "sines and cosines from 6.3 tokens to far beyond a grid; short: from 2.5 to 20, centred"
    )
    offset: Literal["none", "mean_image", "principal_images"] = setting(
        "none",
        "what predictions are added to: nothing, the training volumes' mean patch of each place, or that and "
        "their first 5 principal images, whose scores the model predicts",
    )
    optimiser: OptimiserSettings = setting(
        OptimiserSettings, "phase 1 training", given=("n_epochs", "schedule")
    )
    seed: Seed = setting(2025, "weights, masks and data order")
    weights: str = given_weights()
