"""A training loop written anew, without our code or torch's optimisers: what every loop must follow."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


def list_rates(n_steps: int, n_warmup: int, peak: float) -> list[float]:
    """The learning rate of each step: a line to the peak, then half a cosine, 0 after the last step."""
    rise = [peak * (i + 1) / n_warmup for i in range(n_warmup)]
    n_left = n_steps - n_warmup
    return rise + [peak * (1 + math.cos(math.pi * i / n_left)) / 2 for i in range(n_left)]


def train_plainly(
    net: nn.Module, measure_loss: Callable[[int], Tensor], n_steps: int, options
) -> Iterator[float]:
    """Train by AdamW (Loshchilov and Hutter 2019) in float64, and yield the loss of each step after it.

    The norm of all gradients together is clipped where it is above options.gradient_clip, and only what has
    more than one axis decays.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    first, second = ([torch.zeros_like(p, dtype=torch.float64) for p in parameters] for _ in range(2))
    (beta1, beta2), clip = options.betas, options.gradient_clip
    n_warmup = int(n_steps / options.n_epochs * options.n_warmup_epochs)
    rates = list_rates(n_steps, n_warmup, options.lr)
    for step, rate in enumerate(rates):
        loss = measure_loss(step)
        gradients = [gradient.double() for gradient in torch.autograd.grad(loss, parameters)]
        norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
        share = clip / norm if 0 < clip < norm else 1.0
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            first[i] = beta1 * first[i] + (1 - beta1) * share * gradient
            second[i] = beta2 * second[i] + (1 - beta2) * (share * gradient) ** 2
            mean, square = first[i] / (1 - beta1 ** (step + 1)), second[i] / (1 - beta2 ** (step + 1))
            decay = options.weight_decay if parameter.ndim > 1 else 0.0
            value = (1 - rate * decay) * parameter.detach().double() - rate * mean / (square.sqrt() + 1e-8)
            parameter.data.copy_(value)
        yield loss.item()
