"""Distances of a folder of generated volumes from a folder of real ones, each with its floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from braing3n.apply.judges.anatomy import measure_folders
from braing3n.apply.judges.features import INCEPTION, Feature, open_features, open_model
from braing3n.apply.judges.folders import VolumeFolder, open_folders, tabulate_left_out
from braing3n.apply.judges.tables import draw_pairs, write_results
from braing3n.core.runtime import make_folder, track
from braing3n.fidelity.floors import FEW_PEOPLE, Distance, measure_beside_floor
from braing3n.fidelity.formulas.frechet import measure_frechet
from braing3n.fidelity.formulas.kernels import choose_sigma, measure_kid, measure_mmd
from braing3n.fidelity.formulas.neighbourhoods import N_NEAREST, measure_neighbourhoods
from braing3n.fidelity.formulas.similarity import measure_diversity
from braing3n.fidelity.slices import WINDOW_Z, apply_window

MAX_DRAWS_OF_SLICES = 20  # a Fréchet distance of 2,048 features takes seconds
N_PAIRS_SHOWN = 6
MIN_DEALT = 2  # people on each side, since one has no spread
NO_FLOOR = "no floor with fewer than two generated or four real people"
COLUMNS = ["quantity", "features", "reason", "value", "matched", "low", "high", "floor", "floor_low"]
COLUMNS += ["floor_high", "floor_95", "n_dealt", "against_floor"]


@dataclass(frozen=True)
class Comparison:
    """A comparison that a user requests."""

    generated: Path
    real: Path
    out: Path
    model: Path | None = None
    weights: Path | None = None
    n_draws: int = 100
    n_pairs: int = 50
    seed: int = 2025
    medical: dict[str, Path | None] = field(default_factory=dict)
    measured: dict[str, Path] = field(default_factory=dict)


def compare_folders(asked: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure, write and return distances and anatomy.

    Files: `distances`, `anatomy`, `segmented`, `left_out` and `nearest`, each `.parquet`, and `nearest.png`.

    Raises:
        BrainG3nError: a folder cannot be used; a single bad file is left out and reported.
    """
    model, box = open_model(asked.model)
    found = open_folders({"generated": asked.generated, "real": asked.real}, box)
    make_folder(asked.out)
    generated, real = found["generated"], found["real"]
    features = open_features(model, asked.weights, real, asked.medical)
    values = {one.role: compute(one, features) for one in found.values()}
    rows = []
    for feature in features:
        sets = (values["generated"].get(feature.name), values["real"].get(feature.name))
        rows += measure_sets(feature, sets, (generated.people, real.people), asked)
    rows.append(measure_similarity(generated, real, asked))
    table = pd.DataFrame(rows, columns=COLUMNS).assign(**count(generated, real))
    anatomy, segmented = measure_folders(generated, real, asked.seed, asked.measured)
    last = features[-1].name
    nearest = pair_nearest(generated, real, values["generated"][last], values["real"][last], last)
    write_results(
        asked.out,
        "fidelity compare",
        {
            "distances": table,
            "anatomy": anatomy,
            "segmented": segmented,
            "nearest": nearest,
            "left_out": tabulate_left_out(found),
        },
        found,
    )
    draw_pairs(found, nearest, asked.out / "nearest.png", N_PAIRS_SHOWN)
    return table, anatomy


def compute(one: VolumeFolder, features: list[Feature]) -> dict[str, np.ndarray]:
    """Features (N, k, F) of a folder's volumes by name; a volume that cannot be used is left out."""
    rows: dict[str, list] = {feature.name: [] for feature in features if feature.compute}
    for volume in one.drop_faulty(f"{one.role}: features"):
        for feature in features:
            if feature.compute:
                rows[feature.name].append(feature.compute(volume))
    return {name: np.stack(part) for name, part in rows.items()}


def measure_sets(feature: Feature, sets: tuple, people: tuple, asked: Comparison) -> list[dict]:
    """All quantities on one kind of features, a row each; `value` is that of the whole sets."""
    frechet = "3D-FID" if feature.name == INCEPTION else "Fréchet distance"
    if feature.compute is None:
        base = {"features": feature.name, "reason": feature.why_not, "value": np.nan}
        return [{"quantity": name, **base} for name in (frechet, "KID")]
    flat = tuple(values.reshape(-1, values.shape[-1]) for values in sets)
    mean = tuple(values.mean(axis=1, keepdims=True) for values in sets)
    distances: dict[str, tuple[Distance, tuple, tuple]] = {
        frechet: (measure_frechet, sets, flat),
        "KID": (measure_kid, sets, flat),
        "MMD": (
            partial(measure_mmd, sigma=choose_sigma(mean[1][:, 0])),
            mean,
            (mean[0][:, 0], mean[1][:, 0]),
        ),
    }
    rows = []
    no_floor = "" if min(len(set(people[0])), len(set(people[1])) // 2) >= MIN_DEALT else NO_FLOOR
    for name, (distance, dealt, whole) in distances.items():
        if no_floor:
            row = {"quantity": name, "features": feature.name, "reason": no_floor, "value": distance(*whole)}
            rows.append(row | {"matched": np.nan, "against_floor": "n/a"})
            continue
        n_draws = min(asked.n_draws, MAX_DRAWS_OF_SLICES) if dealt[0].shape[1] > 1 else asked.n_draws
        found = measure_beside_floor(distance, dealt[0], dealt[1], people, n_draws, asked.seed)
        row = {"quantity": name, "features": feature.name, "reason": "", "value": distance(*whole), **found}
        rows.append(row | {"against_floor": judge(found)})
    few = f"a set has {N_NEAREST} volumes or fewer"
    for name, value in measure_neighbourhoods(mean[0][:, 0], mean[1][:, 0]).items():
        reason = "" if np.isfinite(value) else few
        rows.append({"quantity": name, "features": feature.name, "reason": reason, "value": value})
    return rows


def judge(found: dict[str, float]) -> str:
    """The verdict of a distance: above the floor's 95th percentile, below its 95 % interval, or within.

    A set that varies less than people do lies below, if the distance is mostly the bias of small numbers.
    """
    if found["matched"] > found["floor_95"]:
        return "above"
    return "below" if found["matched"] < found["floor_low"] else "within"


def measure_similarity(generated: VolumeFolder, real: VolumeFolder, asked: Comparison) -> dict:
    """Mean MS-SSIM of pairs of generated volumes; the floor is that of pairs of real ones."""

    def measure(one: VolumeFolder) -> float:
        assert one.mask is not None
        mask = one.mask
        pairs = measure_diversity(
            lambda i: apply_window(one.load(i), mask), one.people, asked.n_pairs, 1.0, asked.seed
        )
        return float(np.mean(pairs)) if pairs else float("nan")

    value, floor = measure(generated), measure(real)
    is_there = np.isfinite([value, floor]).all()
    reason = "" if is_there else "a set is of one person, or the volumes are smaller than 11 voxels"
    low, high = WINDOW_Z
    name = f"MS-SSIM of pairs (window {low:g} to {high:g} z)"
    return {"quantity": name, "features": "voxels", "reason": reason, "value": value, "floor": floor}


def count(generated: VolumeFolder, real: VolumeFolder) -> dict:
    """The numbers of volumes and people of each row, with a flag if they are few."""
    n_generated, n_real = len(set(generated.people)), len(set(real.people))
    is_few = min(n_generated, n_real) < FEW_PEOPLE
    return {
        "n_generated": len(generated),
        "n_generated_people": n_generated,
        "n_real": len(real),
        "n_real_people": n_real,
        "note": f"fewer than {FEW_PEOPLE} people" if is_few else "",
    }


def pair_nearest(
    generated: VolumeFolder, real: VolumeFolder, first: np.ndarray, second: np.ndarray, name: str
) -> pd.DataFrame:
    """Each generated volume with the real one that is nearest in features (N, 1, F), nearest pairs first."""
    best, gap = [], []
    for row in track(first[:, 0], "nearest pairs", len(first)):
        distances = cdist(row[None], second[:, 0])[0]
        best.append(int(distances.argmin()))
        gap.append(float(distances.min()))
    table = pd.DataFrame({"generated": generated.names, "nearest": [real.names[k] for k in best]})
    table["distance"], table["features"] = gap, name
    return table.sort_values("distance", ignore_index=True)
