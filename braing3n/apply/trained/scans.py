"""Scans as a model takes them: in SRI24 already, or preprocessed on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from braing3n.apply.contrast import tell_modality, tell_session, tell_subject
from braing3n.core.bids import derivative_path, entities
from braing3n.core.contracts import MODALITIES
from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.settings import PreprocessSettings

NIFTI_ENDS = (".nii", ".nii.gz")
SRI24_MM = (240, 240, 155)  # the box, L-P-S


@dataclass(frozen=True)
class Prepared:
    """A brain volume in SRI24.

    Attributes:
        path, mask_path: the volume and its brain mask; without a mask the brain is what is not 0.
        back_path: the ITK affine that maps points of the scan to points of SRI24; None: unknown.
        raw_path: the scan itself, a NIfTI, whose grid results are carried back to; None: unknown.
    """

    subject: str
    session: str
    run: str
    modality: str
    path: Path
    mask_path: Path | None = None
    back_path: Path | None = None
    raw_path: Path | None = None

    @property
    def name(self) -> str:
        """`sub-X[_ses-Y][_ce-gadolinium][_run-Z]`."""
        return entities(self.subject, self.session, self.run, self.modality)


@dataclass(frozen=True)
class Given:
    """What a user names, and how it is preprocessed where it must be."""

    paths: Sequence[Path]
    by_modality: Mapping[str, Path] = field(default_factory=dict)
    modality: str = ""
    subject: str = ""
    session: str = ""
    is_stripped: bool = False
    resources_dir: Path | None = None
    n_workers: int = 1


def open_scans(given: Given, settings: PreprocessSettings, out_dir: Path) -> list[Prepared]:
    """The brain volumes of what a user names, in SRI24.

    A folder that `braing3n preprocess` left and files named `space-SRI24` are taken as they are. All else is
    preprocessed as the model's own volumes were, into `out_dir/preprocessed`.

    Args:
        settings: the section `preprocess` that the model was trained with.

    Raises:
        BrainG3nError: nothing there, or nothing that a volume can be made of.
    """
    for path in [*given.paths, *given.by_modality.values()]:
        if not path.exists():
            raise BrainG3nError(f"{path}: there is no such file or folder.")
    found: list[Prepared] = []
    raw: list[Path] = []
    for path in given.paths:
        if path.is_dir() and (kept := list_preprocessed(path)):
            found += kept
        elif path.is_file() and "space-SRI24" in path.name:
            found.append(take_volume(path, given))
        else:
            raw.append(path)
    if raw or given.by_modality:
        found += _preprocess(raw, given, settings, out_dir)
    if not found:
        raise BrainG3nError("no volume was kept in preprocessing; its reasons stand above.")
    return found


def list_preprocessed(folder: Path) -> list[Prepared]:
    """The volumes of a folder that `braing3n preprocess`, or the workflow, left; none in any other folder."""
    return [
        take_volume(path, Given([path]))
        for path in sorted(folder.rglob("sub-*_space-SRI24_desc-preproc_*.nii.gz"))
    ]


def take_volume(path: Path, given: Given) -> Prepared:
    """A volume that lies in SRI24, with the mask and the affine that lie beside it.

    Raises:
        BrainG3nError: its grid is not that of SRI24, or nothing says its modality.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        if not isinstance(image, nib.spatialimages.SpatialImage):
            raise ValueError("it holds no volume")
        shape, affine = image.shape, image.affine
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrainG3nError(f"{path}: cannot be read as NIfTI ({reason[:200]}).") from None
    extent_mm = np.array(shape[:3]) * np.linalg.norm(affine[:3, :3], axis=0)[: len(shape)]
    is_lps = nib.aff2axcodes(affine) == ("L", "P", "S")
    if len(shape) != 3 or not is_lps or np.abs(extent_mm - SRI24_MM).max() > 8:
        raise BrainG3nError(
            f"{path}: is named space-SRI24, but its grid is {'x'.join(map(str, shape))} voxels, not the "
            "240 x 240 x 155 mm box of SRI24 stored L-P-S; give the scan itself, and it is preprocessed."
        )
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    named = "T1c" if "_ce-gadolinium" in stem else tell_modality(stem.rpartition("_")[2])
    modality = given.modality or named
    if modality not in MODALITIES:
        raise BrainG3nError(f"{path}: its name tells no modality; give --modality {'|'.join(MODALITIES)}.")
    run = match[1] if (match := re.search(r"_run-([0-9A-Za-z]+)", stem)) else ""
    subject, session = given.subject or tell_subject(stem) or "01", given.session or tell_session(stem)
    beside = path.parent / f"{entities(subject, session)}_space-SRI24_desc-brain_mask.nii.gz"
    back = path.parent / derivative_path(Path(), "", subject, session, run, modality, "inverse_xfm").name
    return Prepared(
        subject, session, run, modality, path,
        beside if beside.is_file() else None,
        back if back.is_file() else None,
    )  # fmt: skip


def _preprocess(raw: list[Path], given: Given, settings: PreprocessSettings, out_dir: Path) -> list[Prepared]:
    """Preprocess scans as the model's volumes were; each with the NIfTI that it came from."""
    from braing3n.apply.gather import Facts
    from braing3n.apply.preprocess import Request, answer
    from braing3n.core.errors import require

    require("ants")
    store_dir = out_dir / "preprocessed"
    request = Request(
        paths=raw,
        out_dir=store_dir,
        by_modality=given.by_modality,
        facts=Facts(given.subject, given.session, given.is_stripped),
        changes=settings.model_dump(mode="json"),
        resources_dir=given.resources_dir,
        n_workers=given.n_workers,
    )
    found = []
    for row in answer(request):  # and no volume of an earlier call into the same folder
        who = (row["subject_id"], row["session_id"], row["run"], row["modality"])
        scan = take_volume(derivative_path(out_dir, store_dir.name, *who), Given([]))
        raw_path = Path(row["raw"]) if row["raw"].endswith(NIFTI_ENDS) else None
        found.append(replace(scan, raw_path=raw_path))
    return found
