"""Every file name of the preprocessed tree, built in one place from BIDS entities."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from braing3n.core.errors import CohortError

# modality -> the name's end: entities that follow the space, and the suffix
SUFFIXES = {"T1": "T1w", "T1c": "T1w", "T2": "T2w", "FLAIR": "FLAIR"}


def label(text: str) -> str:
    """A BIDS label: the id without its non-alphanumerics; accented letters lose their accents.

    Raises:
        CohortError: nothing is left.
    """
    kept = re.sub(r"[^0-9A-Za-z]", "", unicodedata.normalize("NFKD", str(text)))
    if not kept:
        raise CohortError(f"The id {text!r} has no letter or digit, so no BIDS label can be made of it.")
    return kept


def entities(subject_id: str, session_id: str = "", run: str = "", modality: str = "") -> str:
    """`sub-X[_ses-Y][_ce-gadolinium][_run-Z]`, in the order that BIDS asks for."""
    parts = [f"sub-{label(subject_id)}"]
    if session_id:
        parts.append(f"ses-{label(session_id)}")
    if modality == "T1c":
        parts.append("ce-gadolinium")
    if run:
        parts.append(f"run-{label(run)}")
    return "_".join(parts)


def volume_id(cohort: str, subject_id: str, session_id: str, run: str, modality: str) -> str:
    """The one name of a volume across all tables."""
    parts = [cohort, entities(subject_id, session_id, run), modality]
    return "_".join(parts)


def visit_dir(store_dir: Path, cohort: str, subject_id: str, session_id: str = "") -> Path:
    """`store/cohort/sub-X[/ses-Y]/anat`: where one visit's derivatives lie."""
    folder = Path(store_dir) / cohort / f"sub-{label(subject_id)}"
    if session_id:
        folder = folder / f"ses-{label(session_id)}"
    return folder / "anat"


def derivative_path(
    store_dir: Path,
    cohort: str,
    subject_id: str,
    session_id: str = "",
    run: str = "",
    modality: str = "T1",
    kind: str = "preproc",
) -> Path:
    """The path of one derivative in SRI24.

    kind: `preproc` (the volume), `mask` (the brain mask), `xfm` and `inverse_xfm` (the affine of ITK),
    `picture` (three slices as JPEG), `sidecar` (the visit's JSON), `dseg-<label>` (a
    segmentation that came with the visit).
    """
    folder = visit_dir(store_dir, cohort, subject_id, session_id)
    if kind.startswith("dseg-"):
        what = label(kind.removeprefix("dseg-"))
        return folder / f"{entities(subject_id, session_id)}_space-SRI24_desc-{what}_dseg.nii.gz"
    stem = entities(subject_id, session_id, run, modality)
    suffix = SUFFIXES[modality]
    names = {
        "preproc": f"{stem}_space-SRI24_desc-preproc_{suffix}.nii.gz",
        "mask": f"{stem}_space-SRI24_desc-brain_mask.nii.gz",
        "xfm": f"{stem}_from-{suffix}_to-SRI24_mode-image_xfm.mat",
        "inverse_xfm": f"{stem}_from-SRI24_to-{suffix}_mode-image_xfm.mat",
        "picture": f"{stem}_space-SRI24_desc-quality_{suffix}.jpg",
        "sidecar": f"{entities(subject_id, session_id)}_space-SRI24_desc-preproc.json",
    }
    return folder / names[kind]
