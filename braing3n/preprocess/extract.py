"""Brain extraction: one interface, three ways to find the brain in a whole head."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from braing3n.config import PreprocessSettings
from braing3n.errors import ScanError
from braing3n.preprocess.bias import fill_largest
from braing3n.preprocess.scan import Scan

FindBrain = Callable[[Scan], np.ndarray]


def load_extractor(settings: PreprocessSettings, hd_bet_wheel: Path | None = None) -> FindBrain:
    """Load the networks once; the result maps a head to its brain mask (bool, X x Y x Z).

    Args:
        hd_bet_wheel: the `hd-bet-v1` resource, needed by that extractor only.
    """
    if settings.brain_extraction == "none":
        return find_nonzero
    if settings.brain_extraction == "deepbet":
        return _load_deepbet()
    from braing3n.preprocess.hd_bet import load_hd_bet

    return load_hd_bet(hd_bet_wheel, settings.n_hd_bet_folds, settings.use_hd_bet_mirroring)


def find_nonzero(scan: Scan) -> np.ndarray:
    """The mask of a scan that holds a brain only: its nonzero voxels, largest piece, holes filled."""
    return fill_largest(scan.data != 0)


def find_brain(scan: Scan, find: FindBrain, brain_ml: tuple[float, float]) -> np.ndarray:
    """A brain mask (bool, X x Y x Z) of believable size.

    Raises:
        ScanError: no brain was found, or one smaller or larger than `brain_ml`.
    """
    try:
        mask = fill_largest(find(scan))
    except (AssertionError, IndexError, ValueError) as error:
        why = (str(error).splitlines() or ["nothing in the foreground"])[0]
        raise ScanError(f"no brain was found ({why}).") from None
    found_ml = float(mask.sum()) * scan.voxel_ml
    if not brain_ml[0] <= found_ml <= brain_ml[1]:
        low, high = brain_ml
        raise ScanError(f"the brain found has {found_ml:.0f} ml, believable are {low:g}-{high:g} ml.")
    return mask


def _load_deepbet() -> FindBrain:
    """deepbet, with its own weights. Source: Fisch et al. 2024, Computers in Biology and Medicine 179."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from deepbet import BrainExtraction

        network = BrainExtraction(no_gpu=not torch.cuda.is_available())

    def find(scan: Scan) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            probability = network.run_model(scan.data.copy())
            return network.postprocess(probability > 0.5) > 0

    return find
