"""The rule that finds the brain in a decoded volume, which has no zero background and no mask of its own.

A real volume's mask is the one stored with it. A reconstruction or a sample has none: its background is a
little off 0, in the middle of the brain's z-scores, and its edges are as blurred as the decoder makes them.
So the rule is fitted to a decoder: on its reconstructions of real volumes, whose masks are known, and then
applied to what it decodes from samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

SCALES_VOXELS = (0.0, 1.0, 2.0, 4.0)  # Gaussian deviations at which a voxel's surroundings are looked at
SURE = 0.005  # where the brain lies in fewer, or in all but so few, of the real masks, nothing is asked
N_VOXELS_EACH = 10_000  # of the band between, drawn from each volume to fit on


@dataclass(frozen=True)
class BrainRule:
    """A logistic regression on a decoded volume's voxels, with the place as one of its features.

    Attributes:
        prior: float32 (D, H, W), how often the brain lies there, of the masks that it was fitted on.
        weights, bias: of the features, see `describe_voxels`.
    """

    prior: np.ndarray
    weights: np.ndarray
    bias: float

    def find_brain(self, volume: np.ndarray) -> np.ndarray:
        """The brain's mask, bool (D, H, W), one piece without holes, of a volume in z units (D, H, W)."""
        from scipy import ndimage

        mask, band = judge_by_place(self.prior)
        mask[band] = describe_voxels(volume, self.prior)[band] @ self.weights + self.bias > 0
        pieces, n_pieces = ndimage.label(mask)
        if n_pieces > 1:
            mask = pieces == 1 + np.bincount(pieces[mask])[1:].argmax()
        return ndimage.binary_fill_holes(mask)


def fit_brain_rule(pairs: Iterable[tuple[np.ndarray, np.ndarray]], seed: int = 2025) -> BrainRule:
    """Fit the rule to a decoder.

    Args:
        pairs: (reconstruction, stored mask) of real volumes, (D, H, W); tens of people are enough, and those
            that are measured later should not be among them.
        seed: of the draw of voxels.
    """
    from sklearn.linear_model import LogisticRegression

    pairs = [(np.asarray(volume, np.float32), np.asarray(mask, bool)) for volume, mask in pairs]
    prior = average_masks([mask for _, mask in pairs])
    (_, band), generator = judge_by_place(prior), np.random.default_rng(seed)
    features, labels = [], []
    for volume, mask in pairs:
        drawn = generator.permutation(int(band.sum()))[:N_VOXELS_EACH]
        features.append(describe_voxels(volume, prior)[band][drawn])
        labels.append(mask[band][drawn])
    table = np.concatenate(features)
    scale = table.std(axis=0) + 1e-6
    model = LogisticRegression(max_iter=1000).fit(table / scale, np.concatenate(labels))
    return BrainRule(prior, (model.coef_[0] / scale).astype(np.float32), float(model.intercept_[0]))


def average_masks(masks: list[np.ndarray]) -> np.ndarray:
    """How often the brain lies at each voxel, float32 (D, H, W), smoothed by two voxels and never 0 or 1."""
    from scipy import ndimage

    share = ndimage.gaussian_filter(np.mean(masks, axis=0, dtype=np.float32), 2.0)
    return ((share * len(masks) + 0.5) / (len(masks) + 1)).astype(np.float32)


def judge_by_place(prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the place alone says brain, and where it does not decide: two masks, bool (D, H, W)."""
    low = max(SURE, 1.01 * float(prior.min()))  # of few masks the share never gets as low as that
    high = min(1 - SURE, 1 - 1.01 * (1 - float(prior.max())))
    return prior >= high, (prior > low) & (prior < high)


def describe_voxels(volume: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Features (D, H, W, F): the place's log odds, and intensities at four scales.

    Each as it is, unsigned, and where it is dark. A brain's rim is dark fluid, so the sign decides;
    what is far from 0 on either side is not background.
    """
    from scipy import ndimage

    odds = np.log(prior / (1 - prior))
    features = [odds, ndimage.gaussian_filter(odds, 3.0)]
    for scale in SCALES_VOXELS:
        smooth = ndimage.gaussian_filter(volume, scale) if scale else volume
        spread = ndimage.gaussian_filter(np.abs(volume), scale) if scale else np.minimum(np.abs(volume), 0.5)
        features += [smooth, np.abs(smooth), np.minimum(smooth, 0), spread]
    features.append(ndimage.gaussian_gradient_magnitude(volume, 1.5))
    return np.stack(features, axis=-1).astype(np.float32)
