"""The baseline of Table 5: MONAI's AutoencoderKL, without attention, as the paper's size has it.

Batches are (B, 1, D, H, W); a latent is (B, latent_channels, d, h, w).
"""

from __future__ import annotations

import math
from typing import Any

from monai.networks import nets
from torch import Tensor

from braing3n.core.errors import ConfigurationError
from braing3n.sweep.settings import AutoencoderKLSettings


class AutoencoderKL(nets.AutoencoderKL):
    """A convolutional autoencoder whose latent is a normal distribution (Rombach et al. 2022).

    Its sizes are those of MONAI's `brats_mri_generative_diffusion`, whose latent alone among the public ones
    has the paper's 614,400 numbers. `decode` and `reconstruct` (from the mean, no noise) are MONAI's.

    Args:
        settings: sizes.
        shape: (D, H, W) of the volumes in voxels, divisible by 2 a level but the last.

    Raises:
        ConfigurationError: the shape does not halve as often as it must.
    """

    SETTINGS = AutoencoderKLSettings

    def __init__(self, settings: AutoencoderKLSettings, shape: tuple[int, int, int]):
        n_levels = len(settings.channels)
        edge = 2 ** (n_levels - 1)
        if any(n % edge for n in shape):
            raise ConfigurationError(
                f"sweep.akl.channels: volumes of {'x'.join(map(str, shape))} voxels cannot be halved "
                f"{n_levels - 1} times, as {n_levels} levels do; give fewer or another volumes.shape."
            )
        super().__init__(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            channels=settings.channels,
            latent_channels=settings.latent_channels,
            num_res_blocks=settings.n_res_blocks,
            # two channels a group at least, 32 groups of the default widths
            norm_num_groups=max(1, math.gcd(64, *settings.channels) // 2),
            attention_levels=[False] * n_levels,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            include_fc=False,
        )
        self.settings, self.shape = settings, tuple(shape)
        self.latent_shape = (settings.latent_channels, *(n // edge for n in shape))
        self.n_numbers = math.prod(self.latent_shape)

    def forward(self, volume: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction of a latent mu + sigma noise, and mu and sigma of the latent, in float32.

        noise is standard normal, of the latent's shape.
        """
        mu, sigma = (part.float() for part in self.encode(volume))
        return self.decode(mu + sigma * noise), mu, sigma

    def encode_mean(self, volume: Tensor) -> Tensor:
        """The mean of the latent (B, latent_channels, d, h, w): what is cached, never a sample.

        Noise that is drawn once and stored would be learned as if it were anatomy.
        """
        return self.encode(volume)[0]

    @classmethod
    def from_record(cls, settings: AutoencoderKLSettings, record: dict[str, Any]) -> AutoencoderKL:
        """The model of a weight file's record, with random weights."""
        return cls(settings, tuple(record["shape"]))

    def describe(self) -> dict:
        """The record that a weight file needs to build this model again."""
        return {"settings": self.settings.model_dump(mode="json"), "shape": list(self.shape)}

    def count_parameters(self) -> dict[str, int]:
        """Parameters of the encoder and of the decoder, each with its 1x1x1 convolutions at the latent."""
        decoder = [*self.decoder.parameters(), *self.post_quant_conv.parameters()]
        n_all, n_decoder = (sum(p.numel() for p in part) for part in (self.parameters(), decoder))
        return {"encoder": n_all - n_decoder, "decoder": n_decoder}


def measure_divergence(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)), summed over the latent and averaged over the batch."""
    by_number = 0.5 * (mu.square() + sigma.square() - 1) - sigma.log()
    return by_number.flatten(1).sum(1).mean()
