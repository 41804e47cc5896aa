"""CSF, grey and white matter of one brain, without a network: a Gaussian mixture with an atlas's priors.

A voxel is made of four parts, each of one tissue, drawn by the prior: 15 mixtures. The intensity of a mixture
is normal around the mean of its parts. Expectation maximisation (Dempster et al. 1977) fits the tissues'
means and abundance, one deviation, and what the brain's outer layer of voxels, where a part may lie outside,
is darker or brighter by. Nothing says which tissue is bright, so that any contrast is fitted.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from braing3n.atlas.maps import Maps

N_PARTS = 4
COUNTS = np.array([c for c in itertools.product(range(N_PARTS + 1), repeat=3) if sum(c) == N_PARTS])
SHARES = (COUNTS / N_PARTS).astype(np.float32)  # (15, 3)
WAYS = np.array([math.factorial(N_PARTS) / math.prod(map(math.factorial, c)) for c in COUNTS], np.float32)
N_FIT = 12_000  # voxels that the fit sees; with 4,000 white matter is a third less sure
N_STEPS = 15
N_AT_ONCE = 200_000  # voxels, of 15 numbers each
TAILS_PERCENT = (0.5, 99.5)  # vessels and noise beyond these count as these
LEAST_DEVIATION = 0.02  # of the brain's
OUTLIER_DENSITY = 1e-4  # of a voxel that no mixture explains: it keeps its prior
LEAST_SEPARATION = 1.0  # below it an intensity says little of the tissue


@dataclass(frozen=True)
class Mixture:
    """What was fitted, in units of the brain's deviation about its mean.

    means: of the tissues, (3,); abundance: a factor on each tissue's prior, (3,); edge: what the
    outer layer of voxels differs by.
    """

    means: np.ndarray
    abundance: np.ndarray
    deviation: float
    edge: float

    @property
    def separation(self) -> float:
        """The least distance between two tissues' means, in deviations of the noise."""
        return float(np.diff(np.sort(self.means)).min() / self.deviation)

    def judge(self, values: np.ndarray, is_edge: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """What the mixtures weigh once intensities (n,) are seen, float32 (15, n).

        drawn: before it, (15, n) up to a factor of each voxel.
        """
        means = (SHARES @ self.means).astype(np.float32)[:, None]
        z = (values - np.float32(self.edge) * is_edge) - means
        z *= np.float32(1 / self.deviation)
        z *= z
        z *= np.float32(-0.5)
        after = np.exp(z, out=z)
        after += np.float32(OUTLIER_DENSITY)
        after *= np.prod(self.abundance**COUNTS, axis=1).astype(np.float32)[:, None]
        after *= drawn
        after /= after.sum(axis=0)
        return after


@dataclass(frozen=True)
class Segmentation:
    """Shares of CSF, grey and white matter, float32 (3, n), of the n voxels of a mask, in its order."""

    shares: np.ndarray
    mixture: Mixture

    @property
    def is_reliable(self) -> bool:
        """Whether the tissues' means lie at least one deviation of the noise apart.

        Where they do not, volumes are mostly those of the atlas.
        """
        return self.mixture.separation >= LEAST_SEPARATION


def segment(image: np.ndarray, mask: np.ndarray, maps: Maps) -> Segmentation:
    """The tissues of a brain, z-scored or raw, on the grid of the maps.

    Args:
        image: (D, H, W), of any one contrast without shading.
        mask: bool (D, H, W), the brain.
    """
    values = image[mask].astype(np.float32)
    values = np.clip(values, *np.percentile(values, TAILS_PERCENT))
    values = (values - values.mean()) / max(float(values.std()), 1e-12)
    is_edge = (mask & ~ndimage.binary_erosion(mask))[mask].astype(np.float32)
    priors = maps.tissue[:, mask]
    step = max(1, -(-len(values) // N_FIT))
    mixture = fit(values[::step], is_edge[::step], priors[:, ::step])
    shares = np.empty_like(priors)
    for start in range(0, len(values), N_AT_ONCE):
        part = slice(start, start + N_AT_ONCE)
        after = mixture.judge(values[part], is_edge[part], draw_mixtures(priors[:, part]))
        shares[:, part] = SHARES.T @ after
    return Segmentation(shares, mixture)


def draw_mixtures(priors: np.ndarray) -> np.ndarray:
    """How probable each mixture is, (15, n), where each part is drawn by priors (3, n)."""
    powers = [np.ones_like(priors)]
    for _ in range(N_PARTS):
        powers.append(powers[-1] * priors)
    rows = [powers[a][0] * powers[b][1] * powers[c][2] for a, b, c in COUNTS]
    return np.stack(rows) * WAYS[:, None]


def fit(values: np.ndarray, is_edge: np.ndarray, priors: np.ndarray) -> Mixture:
    """The mixture of intensities (n,) of mean 0 and deviation 1; it starts from the atlas's means."""
    seen = np.column_stack([*priors, is_edge])
    known = np.linalg.lstsq(seen, values, rcond=None)[0]
    deviation = max(float((values - seen @ known).std()), LEAST_DEVIATION) / 2
    mixture, drawn = Mixture(known[:3], np.ones(3), deviation, float(known[3])), draw_mixtures(priors)
    for _ in range(N_STEPS):
        mixture = _step(mixture, values, is_edge, priors, drawn)
    return mixture


def _step(mixture: Mixture, values, is_edge, priors, drawn) -> Mixture:
    """One step of expectation and maximisation: the means and the edge are a regression on the mixtures."""
    after = mixture.judge(values, is_edge, drawn)
    expected, of_mixtures = SHARES.T @ after, after.sum(axis=1)
    normal = np.zeros((4, 4))
    normal[:3, :3] = SHARES.T @ (of_mixtures[:, None] * SHARES)
    normal[3, :3] = normal[:3, 3] = expected @ is_edge
    normal[3, 3] = is_edge.sum()
    normal += 1e-6 * len(values) * np.eye(4)  # a tissue that is not there keeps a mean
    means_edge = np.linalg.solve(normal, np.append(expected @ values, values @ is_edge))
    means, edge = means_edge[:3], float(means_edge[3])
    left = values - np.float32(edge) * is_edge
    squares = float(left @ left) - 2 * means @ (expected @ left) + of_mixtures @ (SHARES @ means) ** 2
    weighted = priors / (mixture.abundance.astype(np.float32) @ priors)
    abundance = expected.sum(axis=1) / np.maximum(weighted.sum(axis=1), 1e-6)
    return Mixture(means, abundance, math.sqrt(max(squares / len(values), LEAST_DEVIATION**2)), edge)
