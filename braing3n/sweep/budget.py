"""What a baseline may cost, so that it gets what our arms of Table 5 get: operations, or epochs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from braing3n.pretrain.settings import PretrainSettings
from braing3n.sweep.baseline import Baseline
from braing3n.sweep.baselines import BaselineSettings
from braing3n.sweep.settings import Budget
from braing3n.tokenizer.compute import count_arm, describe_training
from braing3n.tokenizer.settings import TokenizerSettings
from braing3n.training import read_record
from braing3n.training.flops import count_flops


def match_budget(
    name: str,
    settings: BaselineSettings,
    pretrain: PretrainSettings,
    tokenizer: TokenizerSettings,
    shape: tuple[int, int, int],
    budget: Budget,
) -> dict[str, int]:
    """The numbers of `count_arm`, and those of the baseline under one of two budgets.

    `compute`: as many epochs as cost no more operations than MAE and tokenizer in all theirs, at least one.
    `epochs`: as many as both of them have.
    """
    arm = count_arm(pretrain, tokenizer, shape)
    cost = count_flops(lambda: _step_baseline(name, settings, shape))
    n_both = arm["mae_n_epochs"] + arm["tokenizer_n_epochs"]
    n_epochs = n_both if budget == "epochs" else max(1, arm["arm_flops"] // cost)
    return arm | {
        "baseline_flops_an_epoch": cost,
        "baseline_n_epochs": n_epochs,
        "baseline_flops": n_epochs * cost,
    }


def set_epochs(settings: BaselineSettings, n_epochs: int) -> BaselineSettings:
    """The baseline's settings with another number of epochs, of which the warm-up keeps its share."""
    options = settings.optimiser
    n_warmup = options.n_warmup_epochs * n_epochs / options.n_epochs
    options = options.model_copy(update={"n_epochs": n_epochs, "n_warmup_epochs": n_warmup})
    return settings.model_copy(update={"optimiser": options})


def describe_baseline(net: Baseline, weights_path: Path, compute: dict[str, int], budget: Budget) -> dict:
    """What stands among the metrics of a trained baseline: its sizes, what it cost, how long it trained."""
    done = read_record(weights_path, Baseline.__name__)["n_epochs_trained"]
    training = describe_training((compute["baseline_n_epochs"], done, compute["baseline_flops_an_epoch"]))
    counts = {"n_numbers_a_volume": net.n_numbers, "n_parameters": net.count_parameters()}
    return {**counts, "budget": budget, "compute": compute, "training": training}


def print_compute(name: str, found: dict[str, int]) -> None:
    """Print one line with all the numbers of `match_budget` to stderr."""
    tera = {key: value / 1e12 for key, value in found.items() if "flops" in key}
    print(
        "sweep: 1e12 floating-point operations a training volume: "
        f"MAE {tera['mae_flops_an_epoch']:.4g} x {found['mae_n_epochs']} epochs + "
        f"(encoder {tera['encoder_flops_an_epoch']:.4g} + tokenizer {tera['tokenizer_flops_an_epoch']:.4g}) "
        f"x {found['tokenizer_n_epochs']} epochs = {tera['arm_flops']:.4g}; "
        f"{name} {tera['baseline_flops_an_epoch']:.4g} x {found['baseline_n_epochs']} epochs "
        f"= {tera['baseline_flops']:.4g}",
        file=sys.stderr,
        flush=True,
    )


def _step_baseline(name: str, settings: BaselineSettings, shape: tuple) -> None:
    net = Baseline(name, settings, shape)
    image, penalty = net(torch.empty(1, 1, *shape), torch.empty(1, *net.latent_shape))
    (image.sum() + penalty).backward()
