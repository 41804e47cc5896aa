"""Held-out people under other conditions: the axioms that counterfactuals must meet.

Composition, reversibility and effectiveness are those of Monteiro et al. (2023, "Measuring axiomatic
soundness of counterfactual image models"); minimality and realism as Melistas et al. (2024) benchmark them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.control import STAGE_VERSION
from braing3n.control.contrasts import AGE, CONTRASTS, HC_AD, IDH1, SEX, Contrast, Space, find_known, is_given
from braing3n.control.evaluate import Real, read
from braing3n.control.settings import CounterfactualSettings
from braing3n.core.runtime import track, write_atomically
from braing3n.diffusion.edit import change_conditions
from braing3n.diffusion.intervals import measure_mean, measure_share
from braing3n.diffusion.model import DiT
from braing3n.diffusion.settings import SamplingSettings
from braing3n.memorization.neighbours import Rows, find_nearest

MIDDLE_AGE_YEARS = 50.0
MODALITY = next(contrast for contrast in CONTRASTS if contrast.condition == "modality")
NONE = "none"  # the change to a person's own conditions


@dataclass(frozen=True)
class Change:
    """One change of people.

    Attributes:
        name: as the table has it.
        contrast: whose probe reads the change.
        values: of the condition, whose people are changed, each with the value that it becomes; none: years.
        modality: of the volumes that are changed.
    """

    name: str
    contrast: Contrast
    values: dict[str, str]
    modality: str = "T1"


CHANGES = (
    Change("age", AGE, {}),
    Change("sex", SEX, {"F": "M", "M": "F"}),
    Change("HC to AD", HC_AD, {"HC": "AD"}),
    Change("AD to HC", HC_AD, {"AD": "HC"}),
    Change("T1 to T2", MODALITY, {"T1": "T2"}),
    Change("IDH1", IDH1, {"wildtype": "mutant", "mutant": "wildtype"}, "T1c"),
)


@dataclass(frozen=True)
class Changed:
    """What came of one change: rows of the labels, and tokens (n, T, d) before, after and changed back."""

    change: Change
    rows: np.ndarray
    new: pd.DataFrame
    before: np.ndarray
    after: np.ndarray
    back: np.ndarray


def choose_people(change: Change, real: Real, n_people: int) -> np.ndarray:
    """Rows of held-out volumes, one a person, by the seed: of the change's modality, with a known value."""
    values = real.conditions[change.contrast.column]
    chosen = is_given(values) & (real.conditions["modality"] == change.modality).to_numpy()
    chosen &= (real.labels["split"] != "train").to_numpy()
    if change.values:
        chosen &= values.isin(change.values).to_numpy()
    order = np.random.default_rng(real.settings.seed).permutation(len(real.labels))
    order = order[chosen[order]]
    _, first = np.unique(real.labels["person_id"].to_numpy()[order], return_index=True)
    return order[np.sort(first)][:n_people]


def list_new(change: Change, own: pd.DataFrame, settings: CounterfactualSettings) -> pd.DataFrame:
    """The conditions that people get: the other value, or an age some years nearer to and past the middle."""
    column = change.contrast.column
    if change.values:
        return own.assign(**{column: own[column].map(change.values)})
    sign = np.where(own["age_years"] < MIDDLE_AGE_YEARS, 1, -1)
    return own.assign(age_years=own["age_years"] + sign * settings.years)


def list_changed(
    real: Real, settings: CounterfactualSettings
) -> list[tuple[Change, np.ndarray, pd.DataFrame]]:
    """Every change with the rows of its people and what they get; the first changes nothing."""
    found = []
    for change in (Change(NONE, AGE, {}), *CHANGES):
        if change.name in (NONE, *settings.changes):
            rows = choose_people(change, real, settings.n_people)
            own = real.conditions.iloc[rows]
            found.append((change, rows, own if change.name == NONE else list_new(change, own, settings)))
    return found


def change_people(
    model: DiT,
    tokens: np.ndarray,
    real: Real,
    settings: CounterfactualSettings,
    sampling: SamplingSettings,
    npz: Path,
    inputs: Sequence[Path | str],
) -> None:
    """Change people, and change them back; write both float32 (n, T, d), one change after another (.npz).

    A killed job resumes after its last whole batch.

    Args:
        tokens: (N, T, d) of all volumes; may lie on disk.
        inputs: what they are made from, as of `training.open_run_dir`.
    """
    options = sampling.model_copy(update={"n_steps": settings.n_steps, "guidance": settings.guidance})
    listed = list_changed(real, settings)
    size = settings.batch_size
    batches, parts, start = [], [], 0  # rows of the arrays, and which change and people they are
    for change, rows, _ in listed:
        for part in training.cut_batches(np.arange(len(rows)), size):
            batches.append(start + part)
            parts.append((change, part))
        start += len(rows)
    news = {change.name: new for change, _, new in listed}
    rows_of = {change.name: rows for change, rows, _ in listed}

    def compute(rest: list[np.ndarray]) -> Iterator[dict[str, torch.Tensor]]:
        for change, part in track(parts[len(parts) - len(rest) :], "control: people changed", len(rest)):
            rows = rows_of[change.name][part]
            pair = real.conditions.iloc[rows], news[change.name].iloc[part]
            before = torch.from_numpy(np.asarray(tokens[rows], dtype=np.float32))
            after = change_conditions(model, before, *pair, options)
            back = after if change.name == NONE else change_conditions(model, after, *pair[::-1], options)
            yield {"after": after.float(), "back": back.float()}

    shape = tokens.shape[1:], np.float32
    people = [real.labels["volume_id"].iloc[rows].tolist() for rows in rows_of.values()]
    made_of = [
        STAGE_VERSION,
        options.as_json(),
        settings.as_json(),
        people,
        *map(training.digest_input, inputs),
    ]
    part_dir = training.choose_part_dir(npz, "changed", made_of)
    growing = training.grow_arrays(part_dir, {"after": shape, "back": shape}, batches, compute)
    with growing as arrays, write_atomically(npz) as beside:
        np.savez(beside, **{name: np.load(path) for name, path in arrays.items()})


def read_changed(
    npz: Path, tokens: np.ndarray, real: Real, settings: CounterfactualSettings
) -> list[Changed]:
    """What `change_people` wrote, with whom it is of."""
    found, start = [], 0
    with np.load(npz) as file:
        after, back = file["after"], file["back"]
    for change, rows, new in list_changed(real, settings):
        own = slice(start, start := start + len(rows))
        before = np.asarray(tokens[rows], dtype=np.float32)
        found.append(Changed(change, rows, new, before, after[own], back[own]))
    return found


# ---- axioms ------------------------------------------------------------------------------------------

Encode = Callable[[np.ndarray], np.ndarray]  # tokens (n, T, d) -> features (n, F) of what they decode to


def measure_axioms(
    changed: list[Changed],
    tokens: np.ndarray,
    features: np.ndarray,
    real: Real,
    settings: CounterfactualSettings,
    decode: Callable[[np.ndarray], np.ndarray],
    encode: Encode,
) -> pd.DataFrame:
    """A row a change, axiom and quantity, each beside what changing nothing would give.

    Args:
        features: (N, F) of our encoder.
        decode: tokens (n, T, d) to images (n, D, H, W).
    """
    rows: list[dict] = []
    for found in changed:
        if not len(found.rows):
            reason = (
                f"no held-out {found.change.modality} volume with a known {found.change.contrast.condition}"
            )
            rows.append(
                _state(found, real, "effectiveness", "share read as requested", np.array([]), np.nan, reason)
            )
            continue
        images = [decode(part) for part in (found.before, found.after, found.back)]
        moved, kept = (np.abs(image - images[0]).mean(axis=(1, 2, 3)) for image in images[1:])
        size = "mean absolute difference from the person (z units)"
        if found.change.name == NONE:
            rows.append(_state(found, real, "composition", size, moved, 0.0))
            continue
        rows.append(_state(found, real, "reversibility", size, kept, 0.0))
        rows.append(_measure_effect(found, features, real, encode))
        rows.append(_state(found, real, "minimality", size, moved, 0.0))
        rows.append(_measure_outside(found, tokens, real, settings))
        rows.append(_measure_realism(found, tokens, real))
    return pd.DataFrame(rows)


def _state(
    found: Changed,
    real: Real,
    axiom: str,
    quantity: str,
    values: np.ndarray,
    no_change: float,
    reason: str = "",
) -> dict[str, Any]:
    """A row with the mean over people; of true and false the share."""
    values = np.asarray(values)
    value, low, high = (measure_share if values.dtype == bool else measure_mean)(values)
    return {
        **{"change": found.change.name, "axiom": axiom, "quantity": quantity},
        **{"value": value, "low": low, "high": high, "no_change": float(no_change), "reason": reason},
        "n_people": real.labels["person_id"].iloc[found.rows].nunique(),
        "n_volumes": len(found.rows),
    }


def _measure_effect(found: Changed, features: np.ndarray, real: Real, encode: Encode) -> dict:
    """Whether a probe of real people reads the change, in decoded volumes, before and after."""
    contrast, n = found.change.contrast, len(found.rows)
    quantity = "share read as requested" if contrast.classes else "change of the age read, of that requested"
    sampled = np.concatenate([encode(found.before), encode(found.after)])
    reading = read(contrast, Space("encoder", features, sampled), np.arange(2 * n), real)
    if isinstance(reading, str):
        return _state(found, real, "effectiveness", quantity, np.array([]), np.nan, reading)
    before, after = reading.samples.to_numpy()[:n], reading.samples.to_numpy()[n:]
    wanted = found.new[contrast.column].to_numpy()
    if contrast.classes:
        share = float((before == wanted).mean())
        return _state(found, real, "effectiveness", quantity, after == wanted, share)
    asked = wanted - real.conditions["age_years"].to_numpy()[found.rows]
    ratio = (after - before).astype(float) / asked
    return _state(found, real, "effectiveness", quantity, ratio, 0.0)


def find_region(change: Change, tokens: np.ndarray, real: Real, top_share: float) -> np.ndarray | None:
    """Mask (T,) of the tokens in which two classes of training people differ most; None: one class only.

    Of ages the halves below and above the median are the classes.
    """
    conditions, contrast = real.conditions, change.contrast
    rows = np.flatnonzero(find_known(contrast, conditions) & (real.labels["split"] == "train").to_numpy())
    values = conditions[contrast.column].to_numpy()[rows]
    if change.values:
        halves = [rows[values == name] for name in next(iter(change.values.items()))]
    else:
        middle = np.median(values.astype(float)) if len(values) else 0.0
        halves = [rows[values <= middle], rows[values > middle]]
    if not all(map(len, halves)):
        return None
    first, second = (_average(tokens, half) for half in halves)
    size = np.linalg.norm(second - first, axis=1)
    n = max(1, round(top_share * len(size)))
    mask = np.zeros(len(size), dtype=bool)
    mask[np.argsort(-size, kind="stable")[:n]] = True
    return mask


def _average(tokens: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean (T, d) of some rows of tokens, read in blocks."""
    total = np.zeros(tokens.shape[1:])
    for batch in training.cut_batches(np.sort(rows), 256):
        total += np.asarray(tokens[batch], dtype=np.float64).sum(axis=0)
    return total / len(rows)


def _measure_outside(
    found: Changed, tokens: np.ndarray, real: Real, settings: CounterfactualSettings
) -> dict:
    quantity = f"share of the change outside the {settings.top_share:.0%} of tokens that differ most"
    region = find_region(found.change, tokens, real, settings.top_share)
    if region is None:
        reason = "training people have one of the two classes only"
        return _state(found, real, "minimality", quantity, np.array([]), np.nan, reason)
    effect = np.square(found.after - found.before).sum(axis=2)  # (n, T)
    share = effect[:, ~region].sum(axis=1) / np.maximum(effect.sum(axis=1), 1e-30)
    return _state(found, real, "minimality", quantity, share, 1 - region.mean())


def _measure_realism(found: Changed, tokens: np.ndarray, real: Real) -> dict:
    """Distances to the nearest training latent of somebody else, over those of held-out people."""
    modality = found.change.modality if found.change.contrast.condition != "modality" else "T2"
    is_of = (real.conditions["modality"] == modality).to_numpy()
    is_training = (real.labels["split"] == "train").to_numpy()
    flat, groups = tokens.reshape(len(tokens), -1), real.labels["group_id"].to_numpy()
    pool, held = np.flatnonzero(is_of & is_training), np.flatnonzero(is_of & ~is_training)
    quantity = "distance to the nearest training latent, over that of held-out people"
    if not len(pool) or not len(held):
        reason = f"no training or no held-out {modality} volume"
        return _state(found, real, "realism", quantity, np.array([]), np.nan, reason)
    own = groups[found.rows]
    held = np.random.default_rng(real.settings.seed).permutation(held)[: max(64, len(own))]

    def measure(queries: np.ndarray | Rows, owners: np.ndarray) -> np.ndarray:
        return find_nearest(queries, Rows(flat, pool), owners, groups[pool], "control: nearest")[1]

    of_held = measure(Rows(flat, held), groups[held]).mean()
    after, before = (part.reshape(len(part), -1) for part in (found.after, found.before))
    no_change = measure(before, own).mean() / of_held
    return _state(found, real, "realism", quantity, measure(after, own) / of_held, no_change)


# ---- picture -----------------------------------------------------------------------------------------


def draw_counterfactuals(
    changed: list[Changed], decode: Callable[[np.ndarray], np.ndarray], path: Path
) -> None:
    """A picture of the first person of each change: before, after and the difference."""
    from braing3n.training.picture import draw_volumes

    volumes: dict[str, np.ndarray] = {}
    for found in changed:
        if len(found.rows) and found.change.name != NONE:
            before, after = (decode(part[:1])[0] for part in (found.before, found.after))
            name = found.change.name
            volumes |= {
                f"{name}: before": before,
                f"{name}: after": after,
                f"{name}: 2 x change": 2 * (after - before),
            }
    draw_volumes(volumes, path, n_columns=9)
