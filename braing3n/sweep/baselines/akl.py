"""The paper's baseline: MONAI's AutoencoderKL, without attention, as the paper's size has it.

A convolutional autoencoder whose latent is a normal distribution (Rombach et al. 2022). Its sizes are those
of MONAI's `brats_mri_generative_diffusion`, whose latent alone among the public ones has the paper's 614,400
numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from braing3n.core.errors import ConfigurationError
from braing3n.core.settings import setting
from braing3n.sweep.baselines import BaselineSettings

if TYPE_CHECKING:
    from monai.networks.nets import AutoencoderKL
    from torch import Tensor, nn


class AutoencoderKLSettings(BaselineSettings):
    """A convolutional autoencoder with a Kullback-Leibler term."""

    channels: tuple[PositiveInt, ...] = setting(
        (64, 128, 256), "width of each level; every level but the last halves the grid", min_length=1
    )
    latent_channels: int = setting(8, "channels at each place of the coarsest grid", "derived", ge=1)
    n_res_blocks: int = setting(2, "residual blocks a level", ge=1)
    kl_weight: float = setting(
        1e-7, "weight of the divergence, which is summed over the latent, beside the L1", ge=0
    )


SETTINGS = AutoencoderKLSettings


def build(settings: AutoencoderKLSettings, shape: tuple[int, int, int]) -> AutoencoderKL:
    """MONAI's network for volumes of shape (D, H, W), divisible by 2 a level but the last.

    Raises:
        ConfigurationError: the shape does not halve as often as it must.
    """
    from monai.networks import nets

    n_levels = len(settings.channels)
    if any(n % _count_voxels(settings) for n in shape):
        raise ConfigurationError(
            f"sweep.akl.channels: volumes of {'x'.join(map(str, shape))} voxels cannot be halved "
            f"{n_levels - 1} times, as {n_levels} levels do; give fewer or another volumes.shape."
        )
    return nets.AutoencoderKL(
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


def shape_latent(settings: AutoencoderKLSettings, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """(latent_channels, d, h, w)."""
    return settings.latent_channels, *(n // _count_voxels(settings) for n in shape)


def encode(net: AutoencoderKL, volume: Tensor) -> Tensor:
    """The mean of the latent, never a sample.

    Noise that is drawn once and stored would be learned as if it were anatomy.
    """
    return net.encode(volume)[0]


def decode(net: AutoencoderKL, latent: Tensor) -> Tensor:
    """Volumes (B, 1, D, H, W)."""
    return net.decode(latent)


def forward(
    net: AutoencoderKL, settings: AutoencoderKLSettings, volume: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The reconstruction of a latent mu + sigma noise, and the latent's weighted divergence, in float32."""
    mu, sigma = (part.float() for part in net.encode(volume))
    return net.decode(mu + sigma * noise), settings.kl_weight * measure_divergence(mu, sigma)


def measure_divergence(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)), summed over the latent and averaged over the batch."""
    by_number = 0.5 * (mu.square() + sigma.square() - 1) - sigma.log()
    return by_number.flatten(1).sum(1).mean()


def list_blocks(net: AutoencoderKL) -> list[nn.Module]:
    """All blocks of encoder and decoder."""
    parts = net.encoder, net.decoder
    return [block for part in parts for block in part.get_submodule("blocks").children()]


def count_parameters(net: AutoencoderKL) -> dict[str, int]:
    """Those of the encoder and of the decoder, each with its 1x1x1 convolutions at the latent."""
    decoder = [*net.decoder.parameters(), *net.post_quant_conv.parameters()]
    n_all, n_decoder = (sum(p.numel() for p in part) for part in (net.parameters(), decoder))
    return {"encoder": n_all - n_decoder, "decoder": n_decoder}


def _count_voxels(settings: AutoencoderKLSettings) -> int:
    """Voxels along one edge of a place of the latent."""
    return 2 ** (len(settings.channels) - 1)
