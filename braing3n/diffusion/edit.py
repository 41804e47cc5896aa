"""Counterfactuals: one person's tokens under other conditions, with what is the person's own kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from braing3n.diffusion.model import DiT
from braing3n.diffusion.sample import plan_times
from braing3n.diffusion.settings import SamplingSettings
from braing3n.nets.flow import Watch, integrate, trace_back

MOST_MOVED = 1e-3  # of a standardised token at the last iteration of a step back


@torch.no_grad()
def change_conditions(
    model: DiT,
    tokens: Tensor,
    own: pd.DataFrame,
    new: pd.DataFrame,
    settings: SamplingSettings,
    strength: float = 1.0,
    watch: Watch = iter,
) -> Tensor:
    """Tokens float32 (B, T, d) as the model has them under new conditions.

    Three steps (Pearl 2009): abduction, the noise that the flow leads to these tokens under a person's own
    conditions; action, the new conditions; prediction, the flow from that noise. Equal conditions give the
    tokens back. Everything is in float32, since rounding would not be undone on the way back, and in Euler's
    steps whatever the solver of samples, since each is undone by itself. A `RuntimeWarning` reports steps so
    long that they could not be undone.

    Args:
        tokens: (B, T, d), in token units.
        own: the conditions that they have, a table of six columns; empty and NaN are null.
        new: those that they get; the modality may change, too.
        strength: of the change; 0 gives the tokens back, and above 1 exaggerates.
        watch: passes on the steps back, and then those forth.
    """
    device = model.token_mean.device
    own_codes, own_age = (part.to(device) for part in model.vocabularies.encode(own))
    new_codes, new_age = (part.to(device) for part in model.vocabularies.encode(new))
    times = plan_times(model, settings.n_steps)

    def follow(codes: Tensor, age_years: Tensor) -> Callable[[Tensor, float], Tensor]:
        def velocity(x: Tensor, now: float) -> Tensor:
            t = torch.full((len(x),), now, device=device)
            return model.guide(x, t, codes, age_years, settings.guidance, settings.guidance_form)

        return velocity

    as_is, changed = follow(own_codes, own_age), follow(new_codes, new_age)

    def act(x: Tensor, now: float) -> Tensor:
        kept = as_is(x, now)
        return kept + strength * (changed(x, now) - kept)

    noise, moved = trace_back(as_is, model.standardise(tokens.to(device), own_codes), times, watch=watch)
    if not moved < MOST_MOVED:
        text = "the person is not kept: the way back to the noise is not exact ({:.1g} where {:g} is allowed)"
        warnings.warn(
            text.format(moved, MOST_MOVED) + "; use more steps or less guidance", RuntimeWarning, stacklevel=2
        )
    changed_tokens = integrate(changed if strength == 1 else act, noise, times, watch=watch)
    return model.restore(changed_tokens, new_codes)
