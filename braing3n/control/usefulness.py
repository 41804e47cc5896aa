"""Do samples help to find a rare class? A probe and a network, trained on few real people, samples, and both.

The common class is always real, and so are the held-out people who decide. A gain may come from more rows
alone, so samples of the common class that are called the rare one stand beside it: they must not help. The
network sees every volume decoded, real ones too: else it would find the decoder and not the class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from braing3n.control.contracts import USEFULNESS
from braing3n.control.contrasts import CONTRASTS, SEX, Contrast, Space
from braing3n.control.evaluate import Real
from braing3n.diffusion.intervals import NAN3, measure_mean
from braing3n.nets.classifier import fit_classifier
from braing3n.probe.fit import build_model

PROBE, NETWORK = "probe", "network"
REAL, SYNTHETIC, BOTH, WRONG = TRAINED_ON = ("real", "synthetic", "both", "both, wrong class")


def choose_disease(real: Real, samples: pd.DataFrame) -> Contrast:
    """HC against the sampled disease with the fewest training people; HC against AD where none is sampled."""
    pairs = [one for one in CONTRASTS if one.condition == "disease" and one.classes[0] == "HC"]
    sampled = [one for one in pairs if samples["arm"].isin([one.arms[1]]).any()]
    return min(sampled or pairs[:1], key=lambda one: len(_list_people(real, one)[one.classes[1]]))


def plan_tasks(real: Real, samples: pd.DataFrame) -> list[tuple[Contrast, str]]:
    """What is asked, and which class is rare: a disease, and of the sexes that with fewer training people."""
    disease, people = choose_disease(real, samples), _list_people(real, SEX)
    return [(disease, disease.classes[1]), (SEX, min(SEX.classes, key=lambda name: len(people[name])))]


def choose_seen(
    tasks: list[tuple[Contrast, str]], samples: pd.DataFrame, real: Real
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the real volumes and of the samples that the network sees; none where there is no network."""
    options, rng = real.settings.usefulness.network, np.random.default_rng(real.settings.seed)
    rows = [np.array([], dtype=int)]
    for contrast, _ in tasks if options.n_draws else ():
        _, held = real.list_rows(contrast, 0)
        values = real.conditions[contrast.column].to_numpy()[held]
        groups = [
            *_list_people(real, contrast).values(),
            *(held[values == name] for name in contrast.classes),
        ]
        rows += [rng.permutation(group)[: options.n_people] for group in groups]
    arms = [arm for contrast, _ in tasks for arm in contrast.arms]
    is_seen = (samples["arm"].isin(arms) & samples["is_main"]).to_numpy() & bool(options.n_draws)
    return np.unique(np.concatenate(rows)), np.flatnonzero(is_seen)


def measure_usefulness(
    space: Space,
    samples: pd.DataFrame,
    real: Real,
    tasks: list[tuple[Contrast, str]],
    learner: str = PROBE,
) -> pd.DataFrame:
    """A row a task, count of real people of the rare class, and what a learner is trained on.

    AUC on held-out people, the mean of draws of training people with its 95 % interval, and the gain over the
    same draw's learner of real people alone.

    Args:
        space: of the encoder, whose samples were decoded, or coarse images for the network; rows as in the
            labels and in `samples`.
    """
    rows = []
    for contrast, rare in tasks:
        people = _list_people(real, contrast)
        for n_rare in real.settings.usefulness.counts:
            rows += _measure_count(contrast, rare, n_rare, people, space, samples, real, learner)
    return pd.DataFrame(rows, columns=list(USEFULNESS))


def _list_people(real: Real, contrast: Contrast) -> dict[str, np.ndarray]:
    """Rows of training volumes of each class, one a person."""
    fitted, _ = real.list_rows(contrast, 0)
    first = fitted[~real.labels["person_id"].iloc[fitted].duplicated().to_numpy()]
    values = real.conditions[contrast.column].to_numpy()[first]
    return {name: first[values == name] for name in contrast.classes}


def _measure_count(contrast, rare, n_rare, people, space, samples, real, learner) -> list[dict]:
    """The rows of one count, one for each of `TRAINED_ON`."""
    (common,) = (name for name in contrast.classes if name != rare)
    arms = dict(zip(contrast.classes, contrast.arms, strict=True))
    own = {name: np.flatnonzero((samples["arm"] == arm) & samples["is_main"]) for name, arm in arms.items()}
    _, held = real.list_rows(contrast, 0)
    truth = real.conditions[contrast.column].to_numpy()[held] == rare
    row: dict[str, Any] = {"task": contrast.task, "rare": rare, "arm": arms[rare], "n_rare": n_rare}
    row["learner"] = learner
    options = real.settings.usefulness
    n_draws = options.n_draws if learner == PROBE else options.network.n_draws
    row |= {"n_common": len(people[common]), "n_held_out": len(held)}
    row |= {"n_held_out_people": real.labels["person_id"].iloc[held].nunique(), "n_draws": 0}
    reason = ""
    if len(people[rare]) < n_rare:
        reason = f"{len(people[rare])} training people with {rare}"
    elif not 0 < truth.sum() < len(held):
        reason = "held-out people have one class"
    elif not len(people[common]):
        reason = f"no training people with {common}"
    reasons = {name: reason or _explain(name, own[rare], own[common]) for name in TRAINED_ON}
    found: dict[str, list[float]] = {name: [] for name in TRAINED_ON}
    for draw in range(0 if reason else n_draws):
        seed = [real.settings.seed, n_rare, draw]
        rng = np.random.default_rng(seed)
        few = space.real[rng.permutation(people[rare])[:n_rare]]
        many = space.real[people[common]]
        added = {name: space.sampled[rows] for name, rows in own.items()}
        sets = {REAL: [few], SYNTHETIC: [added[rare]], BOTH: [few, added[rare]], WRONG: [few, added[common]]}
        for name, parts in sets.items():
            if not reasons[name]:
                chance = LEARNERS[learner](np.concatenate(parts), many, space.real[held], real, seed)
                found[name].append(_score(truth, chance))
    rows = []
    for name, values in found.items():
        value, low, high = measure_mean(np.array(values), 0, 1) if values else NAN3
        gain = measure_mean(np.subtract(values, found[REAL]), -1, 1) if values else NAN3
        line = row | {"trained_on": name, "auc": value, "low": low, "high": high, "n_draws": len(values)}
        line |= dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
        n_added = 0 if name == REAL else len(own[common if name == WRONG else rare])
        rows.append(line | {"n_samples": n_added, "reason": reasons[name]})
    return rows


def _explain(name: str, rare: np.ndarray, common: np.ndarray) -> str:
    """Why there are no samples to train on, or ''."""
    needed = {REAL: True, WRONG: len(common) > 0}.get(name, len(rare) > 0)
    return "" if needed else f"no samples of the {'common' if name == WRONG else 'rare'} class"


def _ask_probe(
    rare: np.ndarray, common: np.ndarray, held: np.ndarray, real: Real, seed: list[int]
) -> np.ndarray:
    """The chance of the rare class in held-out people, by a probe of both classes, which it weighs alike."""
    del seed  # nothing is drawn
    known = np.concatenate([rare, common]).astype(np.float64)
    is_rare = np.arange(len(known)) < len(rare)
    model = build_model("classification", len(known), known.shape[1], real.probe, has_pca=False)
    model[-1].set_params(class_weight="balanced")
    model.fit(known, is_rare)
    return model.predict_proba(held.astype(np.float64))[:, 1]


def _ask_network(
    rare: np.ndarray, common: np.ndarray, held: np.ndarray, real: Real, seed: list[int]
) -> np.ndarray:
    """The logit of the rare class in held-out people, by a small network on volumes (n, d, h, w)."""
    options = real.settings.usefulness.network
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    predict = fit_classifier(rare, common, options.n_steps, options.batch_size, options.lr, number)
    return predict(held)


LEARNERS = {PROBE: _ask_probe, NETWORK: _ask_network}


def _score(truth: np.ndarray, chance: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, chance)) if np.isfinite(chance).all() else math.nan
