"""What MAE and tokenizer cost to train, in operations and epochs."""

from __future__ import annotations

from functools import partial

import torch

from braing3n.pretrain.model import MaskedAutoencoder, cut_grid
from braing3n.pretrain.settings import PretrainSettings
from braing3n.tokenizer.model import Tokenizer
from braing3n.tokenizer.settings import TokenizerSettings
from braing3n.training.flops import count_flops


def count_arm(
    pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple[int, int, int]
) -> dict[str, int]:
    """Floating-point operations of the training of MAE and tokenizer, and the epochs that are planned.

    All are of one training volume: forward and backward of what learns, forward of the frozen encoder.
    Validation, the tokenizer's linear start and what activation checkpointing does twice are left out.
    """
    mae, encoder, phase_2 = (
        count_flops(partial(step, pretrain, tokenizer, shape))
        for step in (_step_mae, _encode, _step_tokenizer)
    )
    n_mae, n_tokenizer = pretrain.optimiser.n_epochs, tokenizer.optimiser.n_epochs
    return {
        "mae_flops_an_epoch": mae,
        "mae_n_epochs": n_mae,
        "encoder_flops_an_epoch": encoder,
        "tokenizer_flops_an_epoch": phase_2,
        "tokenizer_n_epochs": n_tokenizer,
        "arm_flops": n_mae * mae + n_tokenizer * (encoder + phase_2),
    }


def describe_training(*phases: tuple[int, float, int]) -> dict[str, str | int]:
    """What a model was trained for, as Table 5 prints it: epochs, and operations a training volume.

    A phase is (epochs planned, epochs trained before patience ended it, operations an epoch).
    """
    epochs = [f"{done:g}" if done == planned else f"{done:g} of {planned}" for planned, done, _ in phases]
    n_flops = round(sum(done * flops for _, done, flops in phases))
    return {"epochs": " + ".join(epochs), "flops_a_volume": n_flops}


def describe_arm(
    pretrain: PretrainSettings,
    tokenizer: TokenizerSettings,
    shape: tuple[int, int, int],
    n_mae: float,
    n_tokenizer: float,
) -> dict[str, str | int]:
    """What MAE and tokenizer were trained for, n_mae and n_tokenizer epochs of those planned."""
    arm = count_arm(pretrain, tokenizer, shape)
    phase_2 = arm["encoder_flops_an_epoch"] + arm["tokenizer_flops_an_epoch"]
    return describe_training(
        (arm["mae_n_epochs"], n_mae, arm["mae_flops_an_epoch"]),
        (arm["tokenizer_n_epochs"], n_tokenizer, phase_2),
    )


def _step_mae(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    net = MaskedAutoencoder(pretrain, shape)
    net(torch.empty(1, 1, *shape), torch.empty(1, net.n_tokens)).backward()


def _encode(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    with torch.no_grad():
        MaskedAutoencoder(pretrain, shape).encode(torch.empty(1, 1, *shape))


def _step_tokenizer(pretrain: PretrainSettings, tokenizer: TokenizerSettings, shape: tuple) -> None:
    grid = cut_grid(shape, pretrain.patch_size)
    net = Tokenizer(tokenizer, pretrain.width, pretrain.patch_size, grid)
    net(torch.empty(1, grid[0] * grid[1] * grid[2], pretrain.width)).sum().backward()
