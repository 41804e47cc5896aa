"""Brain extraction: one interface, four ways to find the brain in a whole head."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braing3n.core.errors import ScanError
from braing3n.preprocess.read.masks import FindBrain, fill_largest, find_nonzero
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.settings import PreprocessSettings

if TYPE_CHECKING:
    from braing3n.preprocess.brain.hd_bet_model import Model

MAX_ASTRAY_SHARE = 0.05  # of a mask's voxels outside its largest piece
MAX_BORDER_SHARE = 0.25  # of the largest cross-section on an outermost slice: a cut head, not a neck
DEEPBET_COARSE_VOXELS = 128  # a side of the cube that its first network was trained on


def load_extractor(
    settings: PreprocessSettings, hd_bet_wheel: Path | None = None, hd_bet_model: Model | None = None
) -> FindBrain:
    """Load the networks once; the result maps a head to its brain mask (bool, X x Y x Z).

    Args:
        hd_bet_wheel: the `hd-bet-v1` resource, needed by that extractor only.
        hd_bet_model: the `hd-bet` resource (version 2), needed by that extractor only.
    """
    if settings.brain_extraction == "none":
        return find_nonzero
    if settings.brain_extraction == "deepbet":
        return _load_deepbet(settings.n_deepbet_networks)
    if settings.brain_extraction == "hd-bet":
        from braing3n.preprocess.brain.hd_bet import load_hd_bet

        assert hd_bet_model is not None  # fetched where the settings ask for it
        return load_hd_bet(hd_bet_model, settings.use_hd_bet_mirroring)
    from braing3n.preprocess.brain.hd_bet_v1 import load_hd_bet_v1

    assert hd_bet_wheel is not None
    return load_hd_bet_v1(hd_bet_wheel, settings.n_hd_bet_folds, settings.use_hd_bet_mirroring)


def list_backends(settings: PreprocessSettings) -> list[str]:
    """The names of the extractors that may be asked, the preferred first."""
    names = settings.brain_extraction, settings.fallback_extraction
    if names[0] == "none":
        return []
    return [names[0]] if names[1] in ("none", names[0]) else list(names)


def load_fall_back(
    settings: PreprocessSettings, hd_bet_wheel: Path | None = None, hd_bet_model: Model | None = None
) -> FindBrain | None:
    """The second extractor, loaded at its first use; None where there is no other."""
    names = list_backends(settings)
    if len(names) < 2:
        return None
    chosen = settings.model_copy(update={"brain_extraction": names[1]})
    load = cache(lambda: load_extractor(chosen, hd_bet_wheel, hd_bet_model))
    return lambda scan: load()(scan)


def extract_brain(
    scan: Volume, backends: Sequence[tuple[str, FindBrain]], brain_ml: tuple[float, float]
) -> tuple[np.ndarray, str]:
    """The brain mask of the first backend whose mask passes all checks, and what was tried.

    A mask of unbelievable volume is never taken. One in several pieces, or that touches the scan's border, is
    taken where no other backend does better: the head may be cut there.

    Args:
        backends: (name, finder), the preferred first.

    Raises:
        ScanError: no backend found a brain of believable size; the sentence is the first one's.
    """
    masks: list[np.ndarray | None] = []
    described: list[tuple[str, str]] = []
    for name, find in backends:
        try:
            mask, faults = find_brain(scan, find, brain_ml)
        except ScanError as error:
            described.append((name, str(error).rstrip(".").replace(";", ",")))  # a semicolon parts steps
            masks.append(None)
            continue
        if not faults:
            tried = "".join(f"extract:{other} failed ({reason});" for other, reason in described)
            return mask, f"{tried}extract:{name}"
        described.append((name, ", ".join(faults)))
        masks.append(mask)
    found = ((number, mask) for number, mask in enumerate(masks) if mask is not None)
    taken, best = next(found, (0, None))
    if best is None:
        raise ScanError(f"{described[0][1]}.")
    others = "".join(f", no better: {name}" for name, _ in described[taken + 1 :])
    tried = "".join(f"extract:{name} failed ({reason});" for name, reason in described[:taken])
    return best, f"{tried}extract:{described[taken][0]} ({described[taken][1]}{others})"


def find_brain(scan: Volume, find: FindBrain, brain_ml: tuple[float, float]) -> tuple[np.ndarray, list[str]]:
    """A brain mask (bool, X x Y x Z) of believable size, and what is suspicious about it.

    Raises:
        ScanError: no brain was found, or one smaller or larger than `brain_ml`.
    """
    try:
        found = find(scan)
        mask = fill_largest(found)
    except (AssertionError, IndexError, ValueError) as error:
        why = (str(error).splitlines() or ["nothing in the foreground"])[0]
        raise ScanError(f"no brain was found ({why}).") from None
    found_ml = float(mask.sum()) * scan.voxel_ml
    if not brain_ml[0] <= found_ml <= brain_ml[1]:
        low, high = brain_ml
        raise ScanError(f"the brain found has {found_ml:.0f} ml, believable are {low:g}-{high:g} ml.")
    return mask, _list_faults(found, mask)


def _list_faults(found: np.ndarray, mask: np.ndarray) -> list[str]:
    """In several pieces; reaching the border of the scan with a good part of its cross-section."""
    faults = []
    n_found = int((found > 0).sum())
    astray = float((found.astype(bool) & ~mask).sum()) / n_found
    if astray > MAX_ASTRAY_SHARE:
        faults.append(f"{astray:.0%} of the mask lies apart")
    for axis, names in enumerate((("left", "right"), ("back", "front"), ("bottom", "top"))):
        areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        for name, area in zip(names, (areas[0], areas[-1]), strict=True):
            if area > MAX_BORDER_SHARE * areas.max():
                faults.append(f"reaches the {name} border")
    return faults


def _load_deepbet(n_networks: int) -> FindBrain:
    """deepbet, with its own weights. Source: Fisch et al. 2024, Computers in Biology and Medicine 179."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from deepbet import BrainExtraction

        network = BrainExtraction(no_gpu=not torch.cuda.is_available())

    def find(scan: Volume) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            if n_networks == 1:
                return _find_coarse_brain(network.bbox_model, scan.data) > 0.5
            probability = network.run_model(scan.data.copy())
            return network.postprocess(probability > 0.5) > 0

    return find


def _find_coarse_brain(network, data: np.ndarray) -> np.ndarray:
    """What deepbet's first network, which finds the brain's box for the second, holds for brain.

    Returns:
        float32 (X, Y, Z), probabilities.
    """
    import torch
    from deepbet.utils import normalize
    from torch.nn.functional import interpolate

    device = next(network.parameters()).device
    head = torch.from_numpy(data).to(device)[None, None]
    head = interpolate(head, (DEEPBET_COARSE_VOXELS,) * 3, mode="trilinear")
    with torch.no_grad():
        inside = network(normalize(head, head.quantile(0.005), head.quantile(0.995)))[:, 1:]
    return interpolate(inside, data.shape, mode="trilinear")[0, 0].cpu().numpy()
