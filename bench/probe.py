"""The 23 tasks at the paper's size against a plain scikit-learn loop, on made-up features and labels.

Features: 35,309 x 1152, singular values that fall as 1/k, rotated. Labels are planted in them at the paper's
coverage, on 17,399 people; where the paper gives no count, the share is ours. Every task, slice and fold is
planned, fitted, scored and given its interval, as `probe encoder` and `probe compare` do for one encoder.

The rival fits each fold with scikit-learn's pipeline (StandardScaler, then LogisticRegression of at most 1000
iterations or Ridge), without intervals. It is measured on one fold of a few probes and scaled: seconds a
training row and weight column, the least that was measured of binary, of several classes and of numbers.

Target: at most 15 minutes and 4 GB on two cores, intervals included, and at least 10 times faster than the
loop. Exits 1 short of it; --quick, where the loop converges in a few steps, judges nothing.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
from machine import describe_processor

from braing3n.core.runtime import count_cpus, set_threads, track
from braing3n.probe.compare import score_reading
from braing3n.probe.fit import build_model, predict_out_of_fold
from braing3n.probe.halves import Reading, score_halves
from braing3n.probe.plan import Probe, plan_probe
from braing3n.probe.scores import METRICS, score
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import PAPER_TASKS

N_VOLUMES, N_PEOPLE, N_FEATURES = 35_309, 17_399, 1152
MAX_MINUTES, MAX_GB, MIN_RATIO = 15, 4, 10
MODALITIES = {"T1": 0.78, "T1c": 0.04, "T2": 0.11, "FLAIR": 0.07}
# The paper gives age, sex, dx, cdr, mmse, moca, apoe, grade, idh1, mgmt and site; the others are ours.
COVERAGE = {
    **{"sex": 0.90, "age_years": 0.90, "dx": 0.96, "cdr": 0.34, "mmse": 0.41, "moca": 0.18, "apoe": 0.41},
    **{"grade": 0.08, "idh1": 0.07, "mgmt": 0.06, "site": 0.78, "field_strength_t": 0.78, "vendor": 0.78},
    **{"handedness": 0.30, "ethnicity": 0.20, "race": 0.40, "education_years": 0.45, "gds": 0.20},
    **{"updrs3": 0.09, "scopa": 0.09},
}
DISEASES = {"HC": 15274, "MCI": 5808, "GBM": 4028, "PD": 3381, "AD": 1458, "ASD": 1061, "Glioma": 396}
DISEASES |= {"SCZ": 328, "ADHD": 247, "Paediatric": 2130}
CLASSES: dict[str, dict] = {
    "sex": {"F": 0.5, "M": 0.5},
    "dx": DISEASES,
    "cdr": {0.0: 0.55, 0.5: 0.33, 1.0: 0.09, 2.0: 0.02, 3.0: 0.01},
    "apoe": {"E3/E3": 0.55, "E3/E4": 0.28, "E2/E3": 0.09, "E4/E4": 0.06, "E2/E4": 0.02},
    "grade": {"4": 0.9, "3": 0.04, "2": 0.06},
    "idh1": {"wildtype": 0.88, "mutant": 0.12},
    "mgmt": {"methylated": 0.5, "unmethylated": 0.5},
    "site": {f"cohort/{k:02d}": 1 / (k + 3) for k in range(60)},
    "field_strength_t": {3.0: 0.7, 1.5: 0.3},
    "vendor": {"Siemens": 0.65, "GE": 0.2, "Philips": 0.15},
    "handedness": {"R": 0.9, "L": 0.1},
    "ethnicity": {"Hispanic": 0.07, "not Hispanic": 0.93},
    "race": {"White": 0.75, "other": 0.25},
}
N_TIMED_ROWS = 8192
MEASURED = {("sex", "T1"), ("idh1", "all"), ("disease", "T2"), ("age", "T1"), ("gds", "all")}


def make_corpus(n_volumes: int, n_people: int, n_features: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A label table and features (n_volumes, n_features) in which every label is planted."""
    rng = np.random.default_rng(0)
    person = np.sort(np.concatenate([np.arange(n_people), rng.integers(0, n_people, n_volumes - n_people)]))
    shared = rng.normal(size=(n_people, n_features))
    names = np.array([f"p{k:05d}" for k in range(n_people)])[person]
    shares = list(MODALITIES.values())
    labels = pd.DataFrame(
        {
            "volume_id": [f"v{k:05d}" for k in range(n_volumes)],
            "person_id": names,
            "group_id": names,
            "split": "train",
            "modality": rng.choice(list(MODALITIES), n_volumes, p=np.divide(shares, np.sum(shares))),
        }
    )
    for column, coverage in COVERAGE.items():
        values = _plant(rng, shared, CLASSES.get(column))
        values[rng.random(n_people) > coverage] = np.nan if values.dtype == float else ""
        labels[column] = values[person]
    features = 0.8 * shared[person] + 0.6 * rng.normal(size=(n_volumes, n_features))
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    return labels, (features / np.arange(1, n_features + 1)) @ rotation


def _plant(rng: np.random.Generator, latent: np.ndarray, classes: dict | None) -> np.ndarray:
    """A label of each person: a number, or a class of about these shares."""
    n_people, n_features = latent.shape
    direction = rng.normal(size=(n_features, len(classes or [0]))) * np.sqrt(2 / n_features)
    if classes is None:
        return 60 + 15 * (latent @ direction)[:, 0] + rng.normal(0, 10, n_people)
    chances = np.log(list(classes.values())) + rng.gumbel(size=(n_people, len(classes)))
    return np.array(list(classes))[(latent @ direction + chances).argmax(axis=1)]


def read_all(probes: list[Probe], features: np.ndarray, settings: ProbeSettings) -> dict[str, float]:
    """Seconds of fits, intervals and scores of every probe; fits that did not converge."""
    spent = {"fits": 0.0, "intervals": 0.0, "scores": 0.0, "not converged": 0}
    for probe in track(probes, "probing"):
        start = time.perf_counter()
        pooled = probe.pool(features)
        predictions, is_converged = predict_out_of_fold(pooled, probe, settings, has_pca=False)
        fitted = time.perf_counter()
        halves = score_halves(pooled, probe, settings, has_pca=False)
        halved = time.perf_counter()
        score_reading(probe, Reading(predictions, halves, is_converged), settings)
        spent["fits"] += fitted - start
        spent["intervals"] += halved - fitted
        spent["scores"] += time.perf_counter() - halved
        spent["not converged"] += not is_converged
    return spent


def time_scatters(probes: list[Probe], features: np.ndarray) -> float:
    """Seconds of the least that the fits need: the features of each probe's units times themselves, once."""
    x = features[:N_TIMED_ROWS]
    x.T @ x
    start = time.perf_counter()
    x.T @ x
    return (time.perf_counter() - start) * sum(len(probe.units) for probe in probes) / len(x)


def name_kind(probe: Probe) -> str:
    """The kinds whose cost is scaled apart."""
    return {0: "number", 2: "binary"}.get(len(probe.classes), "classes")


def weigh(probe: Probe) -> int:
    """Training rows x weight columns of one fold, about: what a fit's cost grows with."""
    n_columns = len(probe.classes) if len(probe.classes) > 2 else 1
    return int(len(probe.units) * (1 - 1 / 5)) * n_columns


def measure_loop(probes: list[Probe], features: np.ndarray, settings: ProbeSettings) -> dict[str, float]:
    """Seconds a row and column of the plain loop, the least of each kind, printed probe by probe."""
    from sklearn.exceptions import ConvergenceWarning

    rates: dict[str, float] = {}
    n_fits = n_stopped = 0
    for probe in probes:
        if (probe.task.key, probe.slice) not in MEASURED:
            continue
        x, y, fold = probe.pool(features), probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
        train = fold != 0
        model = build_model(probe.task.kind, train.sum(), x.shape[1], settings, has_pca=False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            start = time.perf_counter()
            model.fit(x[train], y[train])
            seconds = time.perf_counter() - start
        is_stopped = any(issubclass(item.category, ConvergenceWarning) for item in caught)
        n_fits, n_stopped = n_fits + 1, n_stopped + is_stopped
        kind, rate = name_kind(probe), seconds / weigh(probe)
        rates[kind] = min(rate, rates.get(kind, np.inf))
        gap = compare_fold(probe, model, x, y, ~train, settings)
        state = "stopped at max_iter" if is_stopped else "converged"
        print(
            f"  loop, {probe.task.key}/{probe.slice}, one fold: {train.sum()} rows, {kind}, {seconds:.1f} s, "
            f"{1e6 * rate:.1f} us a row and column, {state}; its score minus ours {gap:+.4f}",
            flush=True,
        )
    print(f"the loop's fits that did not converge: {n_stopped} of {n_fits}")
    return rates


def compare_fold(probe, model, x, y, test, settings) -> float:
    """The first metric of the loop's fold minus that of ours."""
    classes = probe.classes
    theirs = model.predict_proba(x[test]) if classes else model.predict(x[test])[:, None]
    ours = predict_out_of_fold(x, probe, settings, has_pca=False)[0][test]
    metric, one = METRICS[probe.task.kind][0], np.zeros(test.sum())
    values = [score(probe.task.kind, y[test], p, classes, one)[metric] for p in (theirs, ours)]
    return values[0] - values[1]


def main() -> int:
    """Make, probe, loop and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the volumes, a quarter of the features"
    )
    parser.add_argument("--threads", type=int, default=count_cpus())
    options = parser.parse_args()
    set_threads(options.threads)
    print(describe_processor())
    sizes = N_VOLUMES, N_PEOPLE, N_FEATURES
    if options.quick:
        sizes = N_VOLUMES // 10, N_PEOPLE // 10, N_FEATURES // 4
    labels, features = make_corpus(*sizes)
    settings = ProbeSettings()
    start = time.perf_counter()
    plans = [plan_probe(task, name, labels, settings) for task in PAPER_TASKS for name in task.slices]
    probes = [probe for probe in plans if not probe.reason]
    planned = time.perf_counter() - start
    print(
        f"{sizes[0]} x {sizes[2]} features: {len(probes)} of {len(plans)} probes, planned in {planned:.0f} s"
    )
    spent = read_all(probes, features, settings)
    seconds = planned + spent["fits"] + spent["intervals"] + spent["scores"]
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"ours: {seconds / 60:.1f} minutes on {options.threads} threads, peak {peak_gb:.1f} GB: fits "
        f"{spent['fits']:.0f} s, intervals {spent['intervals']:.0f} s, scores {spent['scores']:.0f} s; "
        f"{spent['not converged']} probes did not converge"
    )
    share = time_scatters(probes, features) / spent["fits"]
    print(f"share of what the machine can do: {share:.2f} of the fits, the products of the features alone")
    rates = measure_loop(probes, features, settings)
    totals = dict.fromkeys(rates, 0.0)
    for probe in probes:
        totals[name_kind(probe)] += settings.n_folds * weigh(probe) * rates[name_kind(probe)]
    parts = ", ".join(f"{kind} {total / 60:.1f}" for kind, total in totals.items())
    loop = sum(totals.values())
    print(f"the loop, scaled to all rows, columns and folds: {loop / 60:.0f} minutes ({parts}), no intervals")
    ratio = loop / seconds
    print(f"without our intervals: {loop / (planned + spent['fits'] + spent['scores']):.1f} times faster")
    print(f"ratio {ratio:.1f} with them (target {MIN_RATIO}); at most {MAX_MINUTES} minutes and {MAX_GB} GB")
    is_met = ratio >= MIN_RATIO and seconds <= 60 * MAX_MINUTES and peak_gb <= MAX_GB
    return 0 if is_met or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
