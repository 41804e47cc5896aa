"""Initial weights of the tokenizer: the linear map through d channels that reconstructs patches best."""

from __future__ import annotations

import torch
from torch import Tensor

from braing3n import training
from braing3n.core.runtime import track
from braing3n.pretrain.model import MaskedAutoencoder, patchify
from braing3n.tokenizer.model import Standardise, Tokenizer

# Added to unit variances: the last channels of a layer norm's output follow from the others, and what is
# smaller than this drowns in the rounding of half precision.
RIDGE = 1e-6


class Moments:
    """First and second moments of encoder tokens x and of their patches y, in float64."""

    def __init__(self, width: int, n_voxels: int, device: torch.device):
        self.n = 0
        self.x = torch.zeros(width, dtype=torch.float64, device=device)
        self.y = torch.zeros(n_voxels, dtype=torch.float64, device=device)
        self.xx = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.xy = torch.zeros(width, n_voxels, dtype=torch.float64, device=device)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count tokens (n, width) and their patches (n, voxels) in."""
        x, y = x.double(), y.double()
        self.n += len(x)
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y

    def centre(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The means of x and y, the covariance of x, and that of x with y."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        covariance = self.xx / self.n - torch.outer(mean_x, mean_x)
        return mean_x, mean_y, covariance, self.xy / self.n - torch.outer(mean_x, mean_y)


@torch.no_grad()
def initialise_from_components(
    tokenizer: Tokenizer,
    encoder: MaskedAutoencoder,
    volumes: training.Volumes,
    batch_size: int,
    device: torch.device,
) -> None:
    """Set projection and patch head from the training split, by one pass over it.

    Projection and patch head become the reduced-rank regression of patches on the encoder's tokens (Izenman
    1975): the first d principal components of what all channels predict of a patch, all scaled by one number
    so that a channel has unit variance on average. Components of the tokens themselves describe the
    place of a token in the head before they describe that it holds a tumour. Without a projection the
    decoder's fixed standardising and the least-squares patch head, where there is one, do the same with all
    channels.
    The CNN, which starts at 0, then learns what a linear map cannot say. From a random start the decoder
    takes many times as long to get where this begins.
    """
    moments = Moments(tokenizer.encoder_width, tokenizer.patch_size**3, device)
    batches = training.cut_batches(training.find_rows(volumes.table, "train"), batch_size)
    loaded = training.load_batches(volumes, batches, device=device)
    for volume in track(loaded, "tokenizer: components", len(batches)):
        features, patches = encoder.encode(volume), patchify(volume, tokenizer.patch_size)
        moments.add(features.flatten(0, 1), patches.flatten(0, 1))
    initialise_from_moments(tokenizer, moments)


@torch.no_grad()
def initialise_from_moments(tokenizer: Tokenizer, moments: Moments) -> None:
    """Set projection and patch head from the moments of encoder tokens and their patches."""
    if tokenizer.settings.d == "none":
        _initialise_from_all_channels(tokenizer, *moments.centre())
    else:
        _start_from_first_components(tokenizer, *moments.centre())


def _start_from_first_components(
    tokenizer: Tokenizer, mean_x: Tensor, mean_y: Tensor, covariance: Tensor, cross: Tensor
) -> None:
    assert isinstance(tokenizer.project, torch.nn.Linear)
    all_channels = _solve(covariance, cross)  # (width, voxels)
    variances, vectors = torch.linalg.eigh(all_channels.T @ covariance @ all_channels)  # ascending
    d = min(tokenizer.n_channels, *all_channels.shape)
    variances, vectors = variances.flip(0)[:d], vectors.flip(1)[:, :d]  # (voxels, d)
    vectors = vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)  # a component's sign is arbitrary
    scale = variances.mean().rsqrt()
    projection = (all_channels @ vectors * scale).T  # (d, width)
    _fill(tokenizer.project, projection, -(projection @ mean_x))
    if tokenizer.patch_head is not None:
        _fill(tokenizer.patch_head, vectors / scale, mean_y)


def _initialise_from_all_channels(
    tokenizer: Tokenizer, mean_x: Tensor, mean_y: Tensor, covariance: Tensor, cross: Tensor
) -> None:
    assert isinstance(tokenizer.standardise, Standardise)
    scale = covariance.diagonal().mean().rsqrt()
    tokenizer.standardise.mean.copy_(mean_x)
    tokenizer.standardise.scale.copy_(scale)
    if tokenizer.patch_head is not None:
        head = _solve(covariance, cross) / scale  # (width, voxels)
        _fill(tokenizer.patch_head, head.T, mean_y)


def _solve(covariance: Tensor, cross: Tensor) -> Tensor:
    """Least squares of patches on tokens, (width, voxels), with the ridge of tokens of unit variance."""
    ridge = RIDGE * covariance.diagonal().mean() * torch.ones_like(covariance[0])
    return torch.linalg.solve(covariance + torch.diag(ridge), cross)


def _fill(layer: torch.nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.zero_()
    layer.bias.zero_()
    rows, columns = weight.shape  # fewer than the layer's where d exceeds the encoder's width
    layer.weight[:rows, :columns] = weight.float()
    layer.bias[:rows] = bias.float()
