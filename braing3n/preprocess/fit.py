"""One scan of a visit on its way to SRI24: the centre by its brain, a companion by its centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from braing3n.core.errors import ScanError
from braing3n.core.runtime import report_step
from braing3n.preprocess.brain.bias import correct_bias, find_head
from braing3n.preprocess.brain.extract import extract_brain, find_brain
from braing3n.preprocess.mosaic import draw_thumbnail
from braing3n.preprocess.quality import measure_quality
from braing3n.preprocess.read.extremes import cap
from braing3n.preprocess.read.intake import Intake, take_in
from braing3n.preprocess.read.masks import FindBrain, find_nonzero
from braing3n.preprocess.read.negatives import Negatives, lift_brain, measure_negatives
from braing3n.preprocess.read.scan import Volume, find_box
from braing3n.preprocess.route import RawState, Route, plan_centre, plan_companion
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.preprocess.space.grid import (
    Atlas,
    is_on_grid,
    measure_coverage,
    resample,
    soften,
    store_as_lps,
)
from braing3n.preprocess.space.register import crop_to_content, measure_dice, register_affine, register_rigid
from braing3n.preprocess.space.registration_checks import check_atlas_information, check_centre_information


@dataclass(frozen=True)
class Tools:
    """What a worker loads once."""

    settings: PreprocessSettings
    atlas: Atlas
    find_brain: FindBrain
    fall_back: FindBrain | None = None

    @property
    def backends(self) -> list[tuple[str, FindBrain]]:
        """The configured way to find a brain, and the one tried where its mask fails a check."""
        names = self.settings.brain_extraction, self.settings.fallback_extraction
        finders = self.find_brain, self.fall_back
        return [(name, find) for name, find in zip(names, finders, strict=True) if find is not None]


@dataclass(frozen=True)
class Centre:
    """The scan that gives a visit its mask and its way to SRI24."""

    modality: str
    run: str
    state: RawState
    route: Route
    raw: Intake  # whole as it came, or shifted
    scan: Volume  # the same, N4-corrected where the route has it
    mask: np.ndarray  # bool, on the scan's grid
    extraction: str  # which backend found it, and what failed before; empty: the nonzero voxels
    matrix: np.ndarray  # 4 x 4, LPS mm, points of SRI24 -> points of the scan
    atlas_mask: np.ndarray  # bool (L, P, S) on the SRI24 grid
    atlas_dice: float
    negatives: Negatives
    volume: np.ndarray | None = None  # float32 (L, P, S) on the SRI24 grid; None until it is moved

    @property
    def native_brain_ml(self) -> float:
        """The brain's volume before registration takes its size away."""
        return float(self.mask.sum()) * self.scan.voxel_ml

    @property
    def affine_determinant(self) -> float:
        """How much the way to SRI24 enlarges a volume; native ml times it is about the atlas's 1452 ml."""
        return float(1.0 / np.linalg.det(self.matrix[:3, :3]))


@dataclass(frozen=True)
class Moved:
    """One scan in SRI24."""

    volume: np.ndarray  # float32 (L, P, S)
    matrix: np.ndarray  # 4 x 4, LPS mm, points of SRI24 -> points of the scan
    steps: str
    shape: tuple[int, int, int]  # of the scan in its canonical orientation
    affine: np.ndarray  # of the same
    quality: dict[str, float | None]  # table cells
    picture: bytes  # JPEG


def _find_brain(row: Mapping, scan: Volume, route: Route, tools: Tools) -> tuple[Volume, np.ndarray, str]:
    """N4 and brain extraction: the corrected scan, the mask and how it was found."""
    settings = tools.settings
    if route.has_n4:
        _report(row, "bias correction")
        scan = correct(scan, settings)
    try:
        if route.has_extraction:
            _report(row, "brain extraction")
            return scan, *extract_brain(scan, tools.backends, settings.brain_ml)
        return scan, find_brain(scan, find_nonzero, settings.brain_ml)[0], ""
    except ScanError as error:
        raise ScanError(f"{Path(row['path']).name}: {error}") from None


def _find_lifted_brain(
    row: Mapping, taken: Intake, route: Route, tools: Tools
) -> tuple[Intake, Volume, np.ndarray, str, Negatives]:
    """The scan, shifted where its brain is too negative, and what `_find_brain` gives of it.

    Where the brain of a whole head lies is known only after that work; the work is then done again.
    """
    settings, name, raw = tools.settings, Path(row["path"]).name, taken.scan
    if not route.has_extraction:
        content = find_nonzero(raw)
        raw, negatives = lift_brain(name, raw, measure_negatives(raw.data, content), settings, content)
        scan, mask, _ = _find_brain(row, raw, route, tools)
        how = "mask:nonzero (no skull was found)" if taken.is_found_stripped else "mask:nonzero"
        return replace(taken, scan=raw), scan, mask, how, negatives
    scan, mask, extraction = _find_brain(row, raw, route, tools)
    lifted, negatives = lift_brain(name, raw, measure_negatives(raw.data, mask), settings)
    if negatives.is_shifted:
        scan, mask, extraction = _find_brain(row, lifted, route, tools)
    return replace(taken, scan=lifted), scan, mask, extraction, negatives


def fit_centre(row: Mapping, tools: Tools) -> Centre:
    """N4, brain extraction and affine registration of one scan."""
    settings, atlas, taken = tools.settings, tools.atlas, take_in(row)
    route, name = plan_centre(taken.state, settings.brain_extraction), Path(row["path"]).name
    raw, scan, mask, extraction, negatives = _find_lifted_brain(row, taken, route, tools)
    brain = scan.with_data(scan.data * mask)
    matrix = np.eye(4)
    if route.has_affine:
        _report(row, "affine registration to SRI24")
        matrix = register_affine(brain, atlas.brain, settings.affine, settings.seed, settings.spacing_mm)
    if is_on_grid(scan, atlas.grid) and not route.has_affine:
        atlas_mask = store_as_lps(scan.with_data(mask)) > 0.5
    else:
        atlas_mask = resample(scan.with_data(mask), matrix, atlas.grid, "linear") > 0.5
    dice = measure_dice(atlas_mask, atlas.mask)
    if dice < settings.min_atlas_dice:
        raise ScanError(
            f"{name}: does not fit SRI24 (Dice {dice:.2f}, {settings.min_atlas_dice:g} is needed)."
        )
    _check_coverage(name, scan, matrix, atlas, atlas.mask, settings)  # its own mask ends where the scan does
    return Centre(
        modality=row["modality"],
        run=row["run"],
        state=taken.state,
        route=route,
        raw=raw,
        scan=scan,
        mask=mask,
        extraction=extraction,
        matrix=matrix,
        atlas_mask=atlas_mask,
        atlas_dice=dice,
        negatives=negatives,
    )


def fit_companion(row: Mapping, centre: Centre, tools: Tools) -> Moved:
    """N4 and rigid registration to the centre; mask and affine are the centre's."""
    settings, taken, name = tools.settings, take_in(row), Path(row["path"]).name
    raw, state = taken.scan, taken.state
    route = plan_companion(state, centre.state)
    is_brain = state.is_stripped or settings.brain_extraction == "none"
    content = find_nonzero(raw) if is_brain else find_head(raw)
    negatives = Negatives()
    if is_brain:
        raw, negatives = lift_brain(name, raw, measure_negatives(raw.data, content), settings, content)
    scan = raw
    if route.has_n4:
        _report(row, "bias correction")
        scan = correct(raw, settings)
    matrix = centre.matrix
    if route.has_rigid:
        _report(row, f"rigid registration to the {centre.modality}")
        is_centre_brain = not centre.route.has_extraction
        target = centre.scan
        if is_brain or is_centre_brain:
            target = crop_to_content(target.with_data(target.data * centre.mask))
        else:
            target = target.crop(find_box(find_head(target)))
        # A head against a brain: only what lies in the brain can be compared.
        focus = target.with_data(target.data != 0) if is_centre_brain and not is_brain else None
        moving = scan.crop(find_box(content))
        matrix = register_rigid(target, moving, settings.seed, focus, settings.spacing_mm) @ matrix
    if not is_brain and raw.data.min() < 0:  # where its brain lies is known only now
        head = resample(raw, matrix, tools.atlas.grid, "nearestNeighbor")
        raw, negatives = lift_brain(name, raw, measure_negatives(head, centre.atlas_mask), settings)
        if negatives.is_shifted:
            scan = correct(raw, settings) if route.has_n4 else raw
    return move(
        row,
        centre,
        raw=replace(taken, scan=raw),
        scan=scan,
        matrix=matrix,
        route=route,
        negatives=negatives,
        tools=tools,
        via=centre.modality,
    )


def move(
    row: Mapping,
    centre: Centre,
    raw: Intake,
    scan: Volume,
    matrix: np.ndarray,
    route: Route,
    negatives: Negatives,
    tools: Tools,
    via: str = "",
) -> Moved:
    """One interpolation to the grid; zero outside the mask, negatives clipped.

    raw: as it came (or shifted); scan: the same, corrected. via: the centre's modality, of a companion.
    """
    settings, atlas, grid, name = tools.settings, tools.atlas, tools.atlas.grid, Path(row["path"]).name
    coverage = _check_coverage(name, scan, matrix, atlas, centre.atlas_mask, settings)
    is_exact = not route.has_affine and not route.has_rigid and is_on_grid(scan, grid)
    if is_exact:
        head = store_as_lps(scan)
    else:
        head = resample(soften(scan, grid.spacing_mm), matrix, grid, settings.interpolation)
    volume = cap(np.where(centre.atlas_mask, np.maximum(head, 0), 0).astype(np.float32))[0]
    inside = volume[centre.atlas_mask]
    if inside.min() == inside.max():
        raise ScanError(f"{name}: is blank inside the brain.")
    least = settings.min_atlas_information
    information = check_atlas_information(name, volume, centre.atlas_mask, atlas, least)
    steps = (
        ("unpad;" if raw.is_padded else "")
        + ("shift;" if negatives.is_shifted else "")
        + route.describe(centre.extraction, via, is_exact)
    )
    quality = {
        "atlas_mutual_information": round(max(0, information), 6),
        "coverage": round(coverage, 6),
        "atlas_coverage": round(measure_coverage(scan, matrix, grid, atlas.mask), 6),
        "centre_mutual_information": None,
        "size_mismatch": None,
        "missing_share": round(float((atlas.inside & ~centre.atlas_mask).sum() / atlas.inside.sum()), 6),
        "negative_share": round(negatives.share, 6),
        "clipped_share": round(raw.clipped_share, 9),
        **measure_quality(raw.scan, scan, matrix, centre.atlas_mask, grid),
    }
    if centre.volume is not None:  # of a companion
        inside, least = centre.atlas_mask & atlas.inside, settings.min_centre_information
        shared = check_centre_information(name, volume, centre.volume, inside, via, least)
        quality["centre_mutual_information"] = round(shared, 6)
    elif route.has_affine:
        mismatch = abs(np.log(centre.native_brain_ml * centre.affine_determinant / atlas.brain_ml))
        quality["size_mismatch"] = round(float(mismatch), 6)
    return Moved(
        volume=volume,
        matrix=matrix,
        steps=steps,
        shape=scan.data.shape,
        affine=scan.affine,
        quality=quality,
        picture=draw_thumbnail(head, centre.atlas_mask, atlas),
    )


def _check_coverage(
    name: str, scan: Volume, matrix: np.ndarray, atlas: Atlas, mask: np.ndarray, settings: PreprocessSettings
) -> float:
    """The share of a brain (bool, on the atlas's grid) within the scan's field of view; enough of it."""
    coverage = measure_coverage(scan, matrix, atlas.grid, mask)
    if coverage < settings.min_coverage:
        raise ScanError(f"{name}: shows {coverage:.0%} of the brain, {settings.min_coverage:.0%} are needed.")
    return coverage


def correct(scan: Volume, settings: PreprocessSettings) -> Volume:
    """N4 as configured."""
    return correct_bias(scan, settings.n4_spacing_mm, settings.n4_iterations, settings.n4_tolerance)


def _report(row: Mapping, step: str) -> None:
    report_step(f"sub-{row['subject_id']} {row['modality']}: {step}")
