"""Settings of tokenizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from braing3n.core.settings import OptimiserSettings, Seed, Settings, given_weights, setting, validate

# Channels that the projection leaves of a token; none: no projection.
Bottleneck = Annotated[int, Field(ge=1)] | Literal["none"]


class TokenizerSettings(Settings):
    """Projection and CNN decoder (phase 2)."""

    d: Bottleneck = setting(32, "channels a token; none: no projection, the encoder's own", "given")
    widths: tuple[PositiveInt, ...] = setting(
        (512, 288, 160, 64),
        "decoder channels, one a doubling, from the token grid up: 43.6 M parameters",
        min_length=1,
    )
    n_blocks: int = setting(2, "residual blocks a level", ge=1)
    has_attention: bool = setting(True, "attention at the token grid", "given")
    has_patch_head: bool = setting(
        True, "add the image of a linear map from token to patch, initialised by least squares, to the CNN's"
    )
    loss: Literal["l1", "l2"] = setting(
        "l1",
        "mean absolute (l1) or squared (l2) error of a voxel; l1 loses rare structures at varying places",
    )
    patience: int = setting(40, "epochs without a better validation loss before stopping", "given", ge=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(
            batch_size=64, n_epochs=80, weight_decay=0.0, n_warmup_epochs=1, validate_every_epochs=1
        ),
        "phase 2 training",
        given=("n_epochs", "precision"),
    )
    seed: Seed = setting(2025, "weights and data order")
    weights: str = given_weights()

    def with_d(self, d: str) -> TokenizerSettings:
        """The same settings at another bottleneck, as text.

        Raises:
            ConfigurationError: d is neither a number of channels nor `none`.
        """
        return validate(TokenizerSettings, self.model_dump(mode="json") | {"d": d}, "--d")
