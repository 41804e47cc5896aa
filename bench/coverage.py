"""How often the 95 % intervals of the probes hold the truth, over made-up tasks.

Each task has new people (one or two volumes each), features of two encoders that share half their variance,
a label of two classes and a number. Nothing in the features speaks of either, unless --effect says so. The
truth of an AUC is 0.5, of r and of the differences 0; where --effect is given, that of a score is its mean
over tasks. Prints the coverage of each interval; exits 1 where one lies outside 92 to 98 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe_processor

sys.path.insert(0, str(Path(__file__).parents[1]))

from braing3n.core.runtime import set_threads, track
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import plan_probe
from braing3n.probe.scores import BOUNDS, find_interval
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import Task

ALLOWED = (0.92, 0.98)
TASKS = (
    Task("label", "", "label", classes=(("a", ("a",)), ("b", ("b",)))),
    Task("number", "", "number", kind="regression"),
)
TRUTH = {"auc": 0.5, "r": 0.0, "auc, difference": 0.0, "r, difference": 0.0}


def make_task(rng: np.random.Generator, n_people: int, n_features: int, effect: float):
    """Labels, and the features of two encoders, (n_volumes, F) each."""
    person = np.sort(np.concatenate([np.arange(n_people), rng.permutation(n_people)[: n_people // 2]]))
    names = [f"p{k:04d}" for k in person]
    label = rng.permutation(np.arange(n_people) % 2)
    number = rng.normal(size=n_people)
    labels = pd.DataFrame(
        {
            "volume_id": [f"v{k}" for k in range(len(person))],
            "person_id": names,
            "group_id": names,
            "modality": "T1",
            "split": "train",
            "label": np.where(label, "a", "b")[person],
            "number": number[person],
        }
    )
    shared = rng.normal(size=(n_people, n_features))
    planted = np.outer(effect * label, np.arange(n_features) < 10) + np.outer(
        effect * number, np.arange(n_features) >= n_features - 10
    )
    features = []
    for _ in range(2):
        own = rng.normal(size=(n_people, n_features))
        noise = 0.3 * rng.normal(size=(len(person), n_features))
        features.append((shared + own + planted)[person] + noise)
    return labels, features


def measure_task(labels: pd.DataFrame, features: list[np.ndarray], settings: ProbeSettings) -> dict:
    """(value, low, high) of the first encoder, and of its difference to the second, by metric."""
    found = {}
    for task in TASKS:
        probe = plan_probe(task, "all", labels, settings)
        rows, scores = zip(
            *(score_reading(probe, read_probe(x, probe, settings), settings) for x in features), strict=True
        )
        for row in rows[0]:
            metric = row["metric"]
            if metric not in BOUNDS:
                continue
            found[metric] = row["value"], row["low"], row["high"]
            (ours, our_halves), (theirs, their_halves) = (part[metric] for part in scores)
            interval = find_interval(ours - theirs, our_halves - their_halves)
            found[f"{metric}, difference"] = (ours - theirs, *interval)
    return found


def count_covered(found: list[dict], is_null: bool) -> dict[str, float]:
    """Print and return the share of intervals that hold the truth, by quantity."""
    shares = {}
    print(f"{'quantity':<16} {'truth':>7} {'mean':>7} {'deviation':>9} {'half width':>10} {'coverage':>8}")
    for name in found[0]:
        value, low, high = np.array([item[name] for item in found]).T
        truth = TRUTH[name] if is_null or "difference" in name else value.mean()
        shares[name] = np.mean((low <= truth) & (truth <= high))
        numbers = f"{truth:7.3f} {value.mean():7.3f} {value.std():9.3f} {(high - low).mean() / 2:10.3f}"
        print(f"{name:<16} {numbers} {shares[name]:8.1%}")
    return shares


def main() -> int:
    """Make, probe and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--effect", type=float, default=0.0, help="shift of 10 features, in deviations")
    parser.add_argument("--halvings", type=int, default=ProbeSettings().n_halvings)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_threads(options.threads)
    print(describe_processor(), flush=True)
    rng = np.random.default_rng(options.seed)
    found = []
    for k in track(range(options.tasks), "coverage"):
        labels, features = make_task(rng, options.people, options.features, options.effect)
        found.append(measure_task(labels, features, ProbeSettings(n_halvings=options.halvings, seed=k)))
    shares = count_covered(found, is_null=not options.effect)
    outside = [name for name, share in shares.items() if not ALLOWED[0] <= share <= ALLOWED[1]]
    print(f"outside {ALLOWED[0]:.0%} to {ALLOWED[1]:.0%}: {', '.join(outside) or 'none'}")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
