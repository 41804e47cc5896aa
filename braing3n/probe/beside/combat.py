"""The linear probe of features that ComBat has harmonised by site, fitted in each fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.beside.matched import find_first
from braing3n.probe.compare import score_reading
from braing3n.probe.contracts import READOUTS
from braing3n.probe.fit import predict_out_of_fold, reduce
from braing3n.probe.halves import Reading, score_halves
from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings

READOUT = "linear probe, ComBat by site"
FEWEST = 3  # training volumes of a site: of fewer, no spread can be estimated
TOLERANCE, MOST_STEPS = 1e-6, 1000  # of the empirical Bayes estimates, in deviations of a feature


def read_harmonised(
    encoder: str,
    features: np.ndarray,
    labels: pd.DataFrame,
    probes: list[Probe],
    settings: ProbeSettings,
    has_pca: bool = False,
) -> pd.DataFrame:
    """A row a task and metric of one encoder; features are (n_volumes, F).

    What the training fold cannot harmonise, volumes of sites that it lacks, is left out and counted.
    """
    rows = []
    for probe in track(probes, f"readouts: {encoder} after ComBat"):
        base = {"encoder": encoder, "slice": probe.slice, "people": probe.people, "title": probe.task.title}
        part, reading = probe, None
        if not probe.reason:
            part, reading = read_probe(probe.pool(features), probe, labels, settings, has_pca)
        found, _ = score_reading(part, reading, settings)
        rows += [{**base, **row, "readout": READOUT} for row in found]
    return pd.DataFrame(rows, columns=list(READOUTS))


def read_probe(
    features: np.ndarray, probe: Probe, labels: pd.DataFrame, settings: ProbeSettings, has_pca: bool
) -> tuple[Probe, Reading | None]:
    """The probe of the units that could be harmonised, and its reading; features are (n_units, F).

    Halves behind the interval are of features that were harmonised once, on all units of these sites: no
    label has a part in that, and halves give the spread of a score, never its value.
    """
    site = find_first(probe, labels, "site")
    predictions, is_converged = predict_harmonised(features, site, probe, settings, has_pca)
    kept = np.flatnonzero(np.isfinite(predictions[:, 0]))
    lost = np.setdiff1d(np.arange(len(site)), kept)
    part = replace(probe, units=probe.units.iloc[kept].reset_index(drop=True))
    if probe.units["target"].iloc[kept].nunique() < 2:
        lack = f"ComBat needs two sites with {FEWEST} volumes in a training fold, and two classes at them"
        return replace(probe, reason=lack), None
    if len(lost):
        sites = f"of {len(set(site[lost]))} sites, unknown or with fewer than {FEWEST} in a training fold"
        left_out = f"{len(lost)} volumes left out, {sites}"
        part.note = "; ".join(filter(None, [probe.note, left_out]))
    # Of the sites of `kept` all volumes: of some sites only one was kept, which has no spread.
    rows = np.flatnonzero(np.isin(site, site[kept]))
    everybody = np.ones(len(rows), dtype=bool)
    reduced = reduce(features[rows], everybody, settings) if has_pca else features[rows]
    harmonised = harmonise(reduced, site[rows], everybody)[np.isin(rows, kept)]
    halves = score_halves(harmonised, part, settings, has_pca=False)
    return part, Reading(predictions[kept], halves, is_converged)


def predict_harmonised(
    features: np.ndarray, site: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool
) -> tuple[np.ndarray, bool]:
    """Each unit's prediction (n_units, n_classes or 1), and whether every fit converged.

    NaN where the unit's site is not known, or has fewer than `FEWEST` units in the training fold. A PCA in
    the fold comes before ComBat.
    """
    fold = probe.units["fold"].to_numpy()
    predictions, is_converged = np.full((len(fold), len(probe.classes) or 1), np.nan), True
    for place in np.unique(fold):
        names, counts = np.unique(site[fold != place], return_counts=True)
        known = names[(counts >= FEWEST) & (names != "")]
        rows = np.flatnonzero(np.isin(site, known))
        is_test = fold[rows] == place
        if len(known) < 2 or not is_test.any():
            continue
        x = reduce(features[rows], ~is_test, settings) if has_pca else features[rows]
        x = harmonise(x, site[rows], ~is_test)
        # Two folds, of which only the one that is tested counts.
        split = replace(probe, units=probe.units.iloc[rows].assign(fold=is_test.astype(int)))
        found, has_converged = predict_out_of_fold(x, split, settings, has_pca=False)
        predictions[rows[is_test]], is_converged = found[is_test], is_converged and has_converged
    return predictions, is_converged


def harmonise(x: np.ndarray, site: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """Features (n, F) without what sites add and multiply, by ComBat fitted on the training rows (n,).

    Johnson et al. 2007 in the form of Fortin et al. 2018 (neuroCombat), parametric, without covariates: a
    label that is a covariate would be known of whom is tested. Every site has two training rows at least.
    """
    _, code = np.unique(site, return_inverse=True)
    at = code[is_train]
    is_at = (at[:, None] == np.arange(code.max() + 1)).astype(float)
    n = is_at.sum(axis=0)[:, None]
    left = x[is_train]
    mean, centre, total = is_at.T @ left / n, left.mean(axis=0), left.var(axis=0)
    left -= mean[at]
    squares = is_at.T @ np.square(left, out=left)  # (n_sites, F)
    pooled = squares.sum(axis=0) / len(left)
    # The others are constant at every site, up to rounding.
    kept = pooled > np.maximum(1e-12 * total, 1e-24 * centre**2)
    scale = np.where(kept, np.sqrt(pooled), 1.0)
    shift, spread = (mean - centre) / scale, np.ones(mean.shape)
    spread[:, kept] = squares[:, kept] / pooled[kept] / (n - 1)
    shift[:, kept], spread[:, kept] = _shrink(shift[:, kept], spread[:, kept], n)
    harmonised = x - centre
    harmonised -= (scale * shift)[code]
    harmonised /= np.sqrt(spread)[code]
    harmonised += centre
    return harmonised


def _shrink(shift: np.ndarray, spread: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Empirical Bayes estimates of each site's shift and variance (n_sites, F), of n (n_sites, 1) rows.

    A site's shifts have a normal prior over features, its variances an inverse gamma one.
    """
    if shift.shape[1] < 2:  # a prior over features needs two
        return shift, spread
    middle, width = shift.mean(axis=1, keepdims=True), shift.var(axis=1, ddof=1, keepdims=True)
    m, s2 = spread.mean(axis=1, keepdims=True), spread.var(axis=1, ddof=1, keepdims=True)
    s2 = np.maximum(s2, 1e-12)  # of features that are alike: all variances become their mean
    a, b = (m**2 + 2 * s2) / s2, (m**3 + m * s2) / s2
    gamma, delta = shift, spread
    for _ in range(MOST_STEPS):
        before = gamma, delta
        gamma = (n * width * shift + delta * middle) / (n * width + delta)
        delta = ((n - 1) * spread + n * np.square(shift - gamma) + 2 * b) / (n + 2 * a - 2)
        if max(np.abs(gamma - before[0]).max(), np.abs(delta - before[1]).max()) < TOLERANCE:
            break
    return gamma, delta
