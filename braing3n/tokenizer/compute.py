"""What the arms of Table 5 cost to train, so that the baseline gets no more and no less than ours."""

from __future__ import annotations

import sys

import torch

from braing3n.config import AutoencoderKLSettings, PretrainSettings, TokenizerSettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.akl import AutoencoderKL
from braing3n.tokenizer.model import Tokenizer
from braing3n.training.flops import count_flops


def match_compute(
    pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple[int, int, int]
) -> dict[str, int]:
    """Floating-point operations of the training of MAE and tokenizer, and the baseline's epochs for the same.

    All are of one volume (both arms train on the same ones) in all planned epochs; forward and backward of
    what learns, forward of the frozen encoder. Validation, the tokenizer's linear start and what
    activation checkpointing does twice are left out. At least one epoch is trained.
    """
    mae, encoder, phase_2, akl = (
        count_flops(lambda step=step: step(pretrain, tokenizer, shape))
        for step in (_step_mae, _encode, _step_tokenizer, _step_akl)
    )
    n_mae, n_tokenizer = pretrain.optimiser.n_epochs, tokenizer.optimiser.n_epochs
    arm = n_mae * mae + n_tokenizer * (encoder + phase_2)
    is_matched = tokenizer.akl.has_matched_compute
    n_akl = max(1, arm // akl) if is_matched else tokenizer.akl.optimiser.n_epochs
    return {
        "mae_flops_an_epoch": mae,
        "mae_n_epochs": n_mae,
        "encoder_flops_an_epoch": encoder,
        "tokenizer_flops_an_epoch": phase_2,
        "tokenizer_n_epochs": n_tokenizer,
        "arm_flops": arm,
        "akl_flops_an_epoch": akl,
        "akl_n_epochs": n_akl,
        "akl_flops": n_akl * akl,
    }


def set_epochs(settings: AutoencoderKLSettings, found: dict[str, int]) -> AutoencoderKLSettings:
    """The baseline's settings with the number of epochs that was found."""
    optimiser = settings.optimiser.model_copy(update={"n_epochs": found["akl_n_epochs"]})
    return settings.model_copy(update={"optimiser": optimiser})


def tell_compute(found: dict[str, int]) -> None:
    """Print one line with all these numbers to stderr."""
    tera = {name: value / 1e12 for name, value in found.items() if "flops" in name}
    print(
        "tokenizer: 1e12 floating-point operations a training volume: "
        f"MAE {tera['mae_flops_an_epoch']:.4g} x {found['mae_n_epochs']} epochs + "
        f"(encoder {tera['encoder_flops_an_epoch']:.4g} + tokenizer {tera['tokenizer_flops_an_epoch']:.4g}) "
        f"x {found['tokenizer_n_epochs']} epochs = {tera['arm_flops']:.4g}; "
        f"AKL {tera['akl_flops_an_epoch']:.4g} x {found['akl_n_epochs']} epochs = {tera['akl_flops']:.4g}",
        file=sys.stderr,
        flush=True,
    )


def _step_mae(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    net = MaskedAutoencoder(pretrain, shape)
    net(torch.empty(1, 1, *shape), torch.empty(1, net.n_tokens)).backward()


def _encode(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    with torch.no_grad():
        MaskedAutoencoder(pretrain, shape).encode(torch.empty(1, 1, *shape))


def _step_tokenizer(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    grid = tuple(n // pretrain.patch_size for n in shape)
    net = Tokenizer(tokenizer, pretrain.width, pretrain.patch_size, grid)
    net(torch.empty(1, grid[0] * grid[1] * grid[2], pretrain.width)).sum().backward()


def _step_akl(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    net = AutoencoderKL(tokenizer.akl, shape)
    image, mu, sigma = net(torch.empty(1, 1, *shape), torch.empty(1, *net.latent_shape))
    (image.sum() + mu.sum() + sigma.sum()).backward()
