"""The masked autoencoder: a ViT over 3-D patches that learns to fill in what is hidden.

Batches are (B, 1, D, H, W); a token is a cubic patch, in row-major order of the token grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.errors import ConfigurationError
from braing3n.nets.transformer import (
    NORM_EPS,
    Block,
    Linear,
    encode_positions,
    encode_short_positions,
    initialise_linear,
)
from braing3n.pretrain.settings import PretrainSettings

N_PRINCIPAL_IMAGES = 5


def cut_grid(shape: Sequence[int], patch_size: int) -> tuple[int, int, int]:
    """Patches along each axis of a volume (D, H, W)."""
    d, h, w = (n // patch_size for n in shape)
    return d, h, w


def patchify(volume: Tensor, patch_size: int) -> Tensor:
    """Cut (B, 1, D, H, W) into patches: (B, N, patch_size^3)."""
    b, p = volume.shape[0], patch_size
    d, h, w = cut_grid(volume.shape[2:], patch_size)
    volume = volume.reshape(b, d, p, h, p, w, p)
    return volume.permute(0, 1, 3, 5, 2, 4, 6).reshape(b, d * h * w, p**3)


def unpatchify(patches: Tensor, grid: tuple[int, int, int], patch_size: int) -> Tensor:
    """Put patches (B, N, patch_size^3) back together: (B, 1, D, H, W)."""
    b, p = patches.shape[0], patch_size
    d, h, w = grid
    patches = patches.reshape(b, d, h, w, p, p, p).permute(0, 1, 4, 2, 5, 3, 6)
    return patches.reshape(b, 1, d * p, h * p, w * p)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, K, C) of (B, N, C) at index (B, K)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


class MaskedAutoencoder(nn.Module):
    """ViT encoder and decoder with 3-D patches (He et al. 2022, "Masked autoencoders").

    There is no class token: a volume's feature is the mean of its tokens. Positions are a fixed sine-cosine
    code, and attention does not care for the order of its tokens, so the decoder reads the visible
    tokens first and the hidden ones after them and nothing has to be put back in place.

    Args:
        settings: sizes; the paper's are the defaults.
        shape: (D, H, W) of the volumes in voxels, divisible by the patch size.

    Raises:
        ConfigurationError: shape, widths and heads do not divide as they must.
    """

    SETTINGS = PretrainSettings

    positions: Tensor
    decoder_positions: Tensor
    mean_image: Tensor
    principal_images: Tensor

    def __init__(self, settings: PretrainSettings, shape: tuple[int, int, int]):
        super().__init__()
        _check_sizes(settings, shape)
        self.settings, self.shape = settings, shape
        self.grid = cut_grid(shape, settings.patch_size)
        self.n_tokens = self.grid[0] * self.grid[1] * self.grid[2]
        self.n_visible = self.n_tokens - round(settings.mask_ratio * self.n_tokens)
        n_voxels, width, narrow = settings.patch_size**3, settings.width, settings.decoder_width

        self.embed = Linear(n_voxels, width)
        self.blocks = nn.ModuleList(
            Block(width, settings.n_heads, settings.mlp_ratio) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, NORM_EPS)
        self.decoder_embed = Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder_blocks = nn.ModuleList(
            Block(narrow, settings.decoder_n_heads, settings.mlp_ratio) for _ in range(settings.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(narrow, NORM_EPS)
        self.predict = Linear(narrow, n_voxels)
        encode = encode_short_positions if settings.position_code == "short" else encode_positions
        self.register_buffer("positions", encode(self.grid, width)[None], persistent=False)
        self.register_buffer("decoder_positions", encode(self.grid, narrow)[None], persistent=False)
        if settings.offset != "none":  # known before the first step, and no weight
            self.register_buffer("mean_image", torch.zeros(1, self.n_tokens, n_voxels))
        if settings.offset == "principal_images":
            images = torch.zeros(N_PRINCIPAL_IMAGES, self.n_tokens, n_voxels)
            self.register_buffer("principal_images", images)
            self.score = nn.Linear(2 * narrow, N_PRINCIPAL_IMAGES)
        self.apply(initialise_linear)
        if settings.offset == "principal_images":
            nn.init.zeros_(self.score.weight)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, volume: Tensor, noise: Tensor) -> Tensor:
        """The mean squared error over the voxels of the hidden patches.

        volume is (B, 1, D, H, W) and noise (B, N): the patches with the least noise stay visible.
        """
        patches = patchify(volume, self.settings.patch_size)
        order = noise.argsort(dim=1)
        visible, hidden = order[:, : self.n_visible], order[:, self.n_visible :]
        predicted = self.decode(self.encode_patches(patches, visible), order)
        return functional.mse_loss(predicted.float(), self.make_target(gather_tokens(patches, hidden)))

    def make_target(self, patches: Tensor) -> Tensor:
        """What is predicted of patches (..., voxels): themselves, or each less its mean over its deviation.

        An empty patch stays 0.
        """
        if not self.settings.normalise_target:
            return patches
        mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()

    def fill_in(self, volume: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Volumes (B, 1, D, H, W) with hidden patches blank (0), and with the model's own in their place.

        Of a model whose targets are normalised by patch, the filled-in ones are in units of their patch.
        """
        patches = patchify(volume, self.settings.patch_size)
        order = noise.argsort(dim=1)
        visible, hidden = order[:, : self.n_visible], order[:, self.n_visible :, None]
        predicted = self.decode(self.encode_patches(patches, visible), order).to(patches.dtype)
        hidden = hidden.expand_as(predicted)
        masked, filled = patches.scatter(1, hidden, 0.0), patches.scatter(1, hidden, predicted)
        p = self.settings.patch_size
        return unpatchify(masked, self.grid, p), unpatchify(filled, self.grid, p)

    def encode_patches(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """Patches (B, N, voxels) to tokens (B, K, width): all of them, or those at visible (B, K)."""
        positions = self.positions.expand(len(patches), -1, -1)
        if visible is not None:
            patches, positions = gather_tokens(patches, visible), gather_tokens(positions, visible)
        x = self.embed(patches) + positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Visible tokens (B, K, width), in order (B, N), to the hidden patches (B, N - K, voxels)."""
        n_visible = tokens.shape[1]
        hidden = self.mask_token.expand(len(tokens), order.shape[1] - n_visible, -1)
        seen = self.decoder_embed(tokens)
        x = torch.cat([seen, hidden.to(tokens.dtype)], dim=1)
        x = x + gather_tokens(self.decoder_positions.expand(len(tokens), -1, -1), order)
        *blocks, last = self.decoder_blocks
        for block in blocks:
            x = block(x)
        x = last(x, first=n_visible)  # nothing reads the visible tokens any more
        x = self.decoder_norm(x)
        predicted = self.predict(x)
        if self.settings.offset == "none":
            return predicted
        return predicted + gather_tokens(self._offset(seen, x), order[:, n_visible:])

    def _offset(self, seen: Tensor, hidden: Tensor) -> Tensor:
        """What patches are added to: (B, N, voxels).

        Scores are read from the mean of the decoder's last tokens of hidden patches (B, N - K, C), and from
        that of its first tokens of visible ones (B, K, C), to which no position was added yet.
        """
        image = self.mean_image.expand(len(hidden), -1, -1)
        if self.settings.offset == "mean_image":
            return image
        means = [hidden.mean(dim=1), self.decoder_norm(seen.mean(dim=1))]
        scores = self.score(torch.cat(means, dim=1))
        return image + (scores @ self.principal_images.flatten(1)).reshape(image.shape)

    def encode(self, volume: Tensor) -> Tensor:
        """All tokens of (B, 1, D, H, W), nothing hidden: (B, N, width)."""
        return self.encode_patches(patchify(volume, self.settings.patch_size))

    @classmethod
    def from_record(cls, settings: PretrainSettings, record: dict[str, Any]) -> MaskedAutoencoder:
        """The model of a weight file's record, with random weights."""
        return cls(settings, tuple(record["shape"]))

    def describe(self) -> dict:
        """The record that a weight file needs to build this model again."""
        return {"settings": self.settings.model_dump(mode="json"), "shape": list(self.shape)}


def _check_sizes(settings: PretrainSettings, shape: tuple[int, int, int]) -> None:
    if any(n % settings.patch_size for n in shape):
        raise ConfigurationError(
            f"volumes of {'x'.join(map(str, shape))} voxels cannot be cut into patches of "
            f"pretrain.patch_size {settings.patch_size}; change volumes.shape or the patch size."
        )
    for name, width, n_heads in (
        ("width", settings.width, settings.n_heads),
        ("decoder_width", settings.decoder_width, settings.decoder_n_heads),
    ):
        if width % 6 or width % n_heads:
            raise ConfigurationError(
                f"pretrain.{name}: {width} must be divisible by 6 and by its {n_heads} heads."
            )
