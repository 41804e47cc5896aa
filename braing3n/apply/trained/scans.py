"""Scans as a model takes them: in SRI24 already, or preprocessed on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braing3n.apply.contrast import parse_modality, parse_session, parse_subject
from braing3n.core.bids import SUFFIXES, derivative_path, entities
from braing3n.core.contracts import MODALITIES
from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.settings import PreprocessSettings

if TYPE_CHECKING:
    from braing3n.cohort import Scan

MOST_MOVED_MM = 2.0  # of a corner of SRI24's box: half a voxel of the coarsest grid
VOLUME_NAME = re.compile(r"_space-SRI24(_desc-preproc)?_(T1w|T2w|FLAIR)\.nii(\.gz)?$")


@dataclass(frozen=True)
class Prepared:
    """A brain volume in SRI24.

    Attributes:
        path, mask_path: the volume and its brain mask; without a mask the brain is all voxels that are not 0.
        back_path: the ITK affine that maps points of the scan to points of SRI24; None: unknown.
        grid: shape of the scan itself and its affine voxel -> RAS mm, to which results are resampled.
    """

    subject: str
    session: str
    run: str
    modality: str
    path: Path
    mask_path: Path | None = None
    back_path: Path | None = None
    grid: tuple[tuple[int, ...], np.ndarray] | None = None

    @property
    def name(self) -> str:
        """`sub-X[_ses-Y][_ce-gadolinium][_run-Z]`."""
        return entities(self.subject, self.session, self.run, self.modality)

    @property
    def label(self) -> str:
        """The name with the suffix, such as `sub-X_T1w`: the scan's name in messages and tables."""
        return f"{self.name}_{SUFFIXES[self.modality]}"


@dataclass(frozen=True)
class Given:
    """The scans that a user names, and facts for their preprocessing."""

    paths: Sequence[Path]
    by_modality: Mapping[str, Path] = field(default_factory=dict)
    modality: str = ""
    subject: str = ""
    session: str = ""
    is_stripped: bool = False
    resources_dir: Path | None = None
    n_workers: int = 1
    has_facts: bool = False  # age or disease is given, which applies to one visit only


def open_scans(given: Given, settings: PreprocessSettings, out_dir: Path) -> tuple[list[Prepared], list[str]]:
    """The brain volumes, in SRI24, of the scans that a user names, and a warning for each without a volume.

    Results of `braing3n preprocess` and files named `space-SRI24` are used unchanged. All other scans are
    preprocessed as the model's own volumes were, into `out_dir/preprocessed`.

    Args:
        settings: the section `preprocess` that the model was trained with.

    Raises:
        BrainG3nError: no scan gives a volume, one scan is named twice, or facts of one person are given
            with scans of several visits; the last two are found before the work.
    """
    found: list[Prepared] = []
    raw: list[Path] = []
    warnings: list[str] = []
    for path in given.paths:
        if path.is_dir() and (kept := list_preprocessed(path, given)):
            found += kept
            if others := list_others(path):
                warnings.append(
                    f"{path}: {len(others)} images such as {others[0].name} are not read, for the folder "
                    "holds preprocessed volumes, too; name them by themselves"
                )
        elif is_volume(path):
            found.append(take_volume(path, given))
        else:
            raw.append(path)
    named = {name: path for name, path in given.by_modality.items() if not is_volume(path)}
    for modality, path in given.by_modality.items():
        if modality not in named:
            found.append(take_volume(path, replace(given, modality=modality)))
    check_people(found, given)
    check_scans(found, (), given.has_facts)
    given = replace(given, by_modality=named)
    if raw and given.modality:
        if len(raw) > 1 or named:
            raise BrainG3nError(
                "--modality: holds for one scan; name several as --t1, --t1c, --t2 and --flair."
            )
        given, raw = replace(given, by_modality={given.modality: raw[0]}), []
    if raw or given.by_modality:
        made, more = _preprocess(raw, found, given, settings, out_dir)
        found, warnings = found + made, warnings + more
    if not found:
        raise BrainG3nError(f"no volume was kept: {'; '.join(warnings)}.")
    return found, warnings


def check_people(prepared: Sequence[Prepared], given: Given) -> None:
    """Check that `--subject` and `--session` join no volumes of two people or visits.

    Raises:
        BrainG3nError: names them.
    """
    for option, label, parse in (
        ("--subject", given.subject, parse_subject),
        ("--session", given.session, parse_session),
    ):
        names = sorted({parse(item.path.name.partition("_space-")[0]) for item in prepared})
        if label and len(names) > 1:
            what = "person" if option == "--subject" else "visit"
            shown = ", ".join(names[:5])
            raise BrainG3nError(f"{option} names one {what}, but there are {shown}; run them apart.")
        if label and not re.fullmatch(r"[0-9A-Za-z]+", label.removeprefix("sub-").removeprefix("ses-")):
            raise BrainG3nError(f"{option} {label}: give letters and digits alone.")


def check_scans(prepared: Sequence[Prepared], raw: Sequence[Scan], has_facts: bool) -> None:
    """Check that no scan is named twice, and that with facts of a person all scans are of one visit.

    Raises:
        BrainG3nError: names the scan or the visits.
    """
    paths: dict[str, Path] = {}
    visits = set()
    listed = [(item.subject, item.session, item.run, item.modality, item.path) for item in prepared]
    listed += [(item.subject_id, item.session_id, item.run, item.modality, Path(item.path)) for item in raw]
    for subject, session, run, modality, path in listed:
        name = f"{entities(subject, session, run, modality)}_{SUFFIXES[modality]}"
        if name in paths:
            raise BrainG3nError(f"{paths[name]} and {path} would both be {name}; name one of them.")
        paths[name] = path
        visits.add(entities(subject, session))
    if has_facts and len(visits) > 1:
        shown = ", ".join(sorted(visits)[:5])
        raise BrainG3nError(f"facts of the person apply to one visit; there are {shown}; name one of them.")


def list_preprocessed(folder: Path, given: Given) -> list[Prepared]:
    """The volumes in SRI24 in a folder that `braing3n preprocess`, or another tool, wrote; none in another.

    Those in a folder `derivatives` inside it are ignored: the user means the raw scans beside them.
    """
    return [
        take_volume(path, given)
        for path in sorted(folder.rglob("*_space-SRI24_*.nii*"))
        if "derivatives" not in path.relative_to(folder).parts and VOLUME_NAME.search(path.name)
    ]


def is_volume(path: Path) -> bool:
    """Whether a name says that a file is a volume in SRI24."""
    return "space-SRI24" in path.name and path.is_file()


def list_others(folder: Path) -> list[Path]:
    """The images in a folder that are not in a named space: raw scans beside preprocessed volumes."""
    return [
        path
        for path in sorted(folder.rglob("*.nii*"))
        if "_space-" not in path.name and "derivatives" not in path.relative_to(folder).parts
    ]


def check_grid(path: Path, model_mm: float) -> float:
    """Check that a volume of numbers lies in SRI24's box, with voxels that make up those of the model.

    Args:
        model_mm: spacing of the model's voxels.

    Returns:
        The spacing of its voxels in mm.

    Raises:
        BrainG3nError: it cannot be read, or has another grid.
    """
    import nibabel as nib

    from braing3n.atlas.templates import centred_affine
    from braing3n.volumes.pack import ATLAS_SHAPE_MM

    try:
        image = nib.load(path)
        if not isinstance(image, nib.spatialimages.SpatialImage):
            raise ValueError("it holds no volume")
        shape, affine, kind = image.shape, image.affine, image.get_data_dtype().kind
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrainG3nError(f"{path}: cannot be read as NIfTI ({reason[:200]}).") from None
    again = "give the scan itself, and it is preprocessed"
    if kind not in "biuf":
        raise BrainG3nError(f"{path}: its voxels are no plain numbers (colours or complex); {again}.")
    sizes_mm = np.linalg.norm(affine[:3, :3], axis=0)
    extent_mm = np.array(shape[:3]) * sizes_mm[: len(shape)]
    is_lps = nib.aff2axcodes(affine) == ("L", "P", "S")
    if len(shape) != 3 or not is_lps or np.abs(extent_mm - ATLAS_SHAPE_MM).max() > 8:
        raise BrainG3nError(
            f"{path}: is named space-SRI24, but its grid is {'x'.join(map(str, shape))} voxels, not the "
            f"240 x 240 x 155 mm box of SRI24 stored L-P-S; {again}."
        )
    spacing_mm = float(sizes_mm.mean())
    ends = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * (*(np.array(shape) - 1), 1)
    moved_mm = np.linalg.norm(ends @ (affine - centred_affine(shape, spacing_mm)).T, axis=1).max()
    if moved_mm > MOST_MOVED_MM:
        raise BrainG3nError(
            f"{path}: is named space-SRI24, but its box lies up to {moved_mm:.0f} mm from SRI24's; {again}."
        )
    ratio = model_mm / spacing_mm
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 0.02:
        raise BrainG3nError(
            f"{path}: has voxels of {spacing_mm:g} mm, of which the model's {model_mm:g} mm are no multiple; "
            f"{again}, or preprocess it with --spacing-mm {model_mm:g}."
        )
    return spacing_mm


def check_mask(path: Path, volume_path: Path) -> None:
    """Check that a brain mask is whole, and has the grid of its volume.

    Raises:
        BrainG3nError: names the mask.
    """
    import nibabel as nib

    try:
        mask, volume = nib.load(path), nib.load(volume_path)
        if not all(isinstance(image, nib.spatialimages.SpatialImage) for image in (mask, volume)):
            raise ValueError("it holds no volume")
        np.asanyarray(mask.dataobj)  # type: ignore[attr-defined]
        is_alike = mask.shape == volume.shape and np.allclose(mask.affine, volume.affine, atol=0.1)  # type: ignore[attr-defined]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrainG3nError(f"{path}: the brain mask cannot be read ({reason[:200]}).") from None
    if not is_alike:
        raise BrainG3nError(f"{path}: the brain mask has another grid than its volume; preprocess again.")


def take_volume(path: Path, given: Given) -> Prepared:
    """A volume that is named as one in SRI24, with the mask and the affine beside it.

    Raises:
        BrainG3nError: neither its name nor an option gives its modality.
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    named = "T1c" if "_ce-gadolinium" in stem else parse_modality(stem.rpartition("_")[2])
    modality = given.modality or named
    if modality not in MODALITIES:
        raise BrainG3nError(f"{path}: its name gives no modality; give --modality {'|'.join(MODALITIES)}.")
    run = match[1] if (match := re.search(r"_run-([0-9A-Za-z]+)", stem)) else ""
    subject, session = parse_subject(stem.partition("_space-")[0]) or "01", parse_session(stem)
    beside = path.parent / f"{entities(subject, session)}_space-SRI24_desc-brain_mask.nii.gz"
    back = path.parent / derivative_path(Path(), "", subject, session, run, modality, "inverse_xfm").name
    return Prepared(
        given.subject.removeprefix("sub-") or subject,
        given.session.removeprefix("ses-") or session,
        run,
        modality,
        path,
        beside if beside.is_file() else None,
        back if back.is_file() else None,
    )  # fmt: skip


def _preprocess(
    raw: list[Path], prepared: list[Prepared], given: Given, settings: PreprocessSettings, out_dir: Path
) -> tuple[list[Prepared], list[str]]:
    """Preprocess scans as the model's volumes were; each volume has the grid of its scan.

    prepared: volumes that need no preprocessing; no raw scan may be one of them.
    """
    from braing3n.apply.gather import Facts
    from braing3n.apply.preprocess import Request, answer
    from braing3n.core.errors import require

    require("ants")
    store_dir, warnings = out_dir / "preprocessed", list[str]()
    request = Request(
        paths=raw,
        out_dir=store_dir,
        by_modality=given.by_modality,
        facts=Facts(given.subject, given.session, given.is_stripped),
        changes=settings.model_dump(mode="json"),
        resources_dir=given.resources_dir,
        n_workers=given.n_workers,
        check=lambda scans: check_scans(prepared, scans, given.has_facts),
        wants_grids=True,
        notes=warnings,
    )
    found = []
    for row in answer(request):  # and no volume of an earlier call into the same folder
        who = (row["subject_id"], row["session_id"], row["run"], row["modality"])
        if row["status"] != "kept":
            name = f"{entities(*who)}_{SUFFIXES[row['modality']]}"
            warnings.append(f"{name}: is left out, for preprocessing excluded it ({row['reason']})")
            continue
        scan = take_volume(derivative_path(out_dir, store_dir.name, *who), Given([]))
        found.append(replace(scan, grid=row["grid"]))
    return found, warnings
