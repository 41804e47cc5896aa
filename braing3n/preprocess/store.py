"""The content-keyed store: a visit whose key and files still hold is not done again.

What a sidecar says is never a path: names in it count only where they are plain names of this visit.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from braing3n.core.bids import derivative_path, entities
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import digest_file, digest_text, read_json, write_atomically, write_if_changed
from braing3n.core.scratch import HALF_WRITTEN, remove_half_written
from braing3n.preprocess import STAGE_VERSION
from braing3n.preprocess.read.formats import digest_scan
from braing3n.preprocess.read.intake import list_series
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.preprocess.visit import VisitResult

STATE = ("is_bias_corrected", "is_defaced", "is_stripped", "raw_space")
CELL_PATHS = ("path", "mask_path", "picture_path")
NOT_BIDS = ("*.jpg", "/*.html", "/*.parquet", ".*.lock")  # what lies in the derivative beside it
OWN_NAME = r"sub-[0-9A-Za-z]+(_[0-9A-Za-z]+-[0-9A-Za-z]+)*_[0-9A-Za-z]+\.(nii\.gz|mat|jpg)"
MAX_NAME = 255 - len(".-0123456789abcdef.mat")  # letters, with what `write_atomically` adds
FACTS = ("modality", "run", "source_format", "axes", *STATE)


def digest_raw(rows: Sequence[Mapping]) -> list[tuple[str, ...]]:
    """The sha256 of each row's series, in the order in which they are tried; empty: there is none to read."""
    return [tuple(_digest(series["path"]) for series in list_series(row)) for row in rows]


def digest_segmentations(row: Mapping) -> list[list[str]]:
    """Label, file name and sha256 of each segmentation that a row names."""
    named = json.loads(row.get("segmentations") or "{}")
    return [[label, Path(path).name, _digest(path)] for label, path in named.items()]


def _digest(path: str) -> str:
    try:
        return digest_scan(path)
    except OSError:
        return ""


def compute_key(
    rows: Sequence[Mapping],
    digests: list[tuple[str, ...]],
    settings: PreprocessSettings,
    atlas_sha256: str,
    weights: Mapping[str, str] | None = None,
) -> str:
    """What a visit's result depends on, as one sha256.

    Bytes, format and raw state of its scans, settings, atlas, stage version; names too, since reasons hold
    them; and the networks that users bring, `weights` (name -> sha256).
    """
    segmentations = [described for row in rows for described in digest_segmentations(row)]
    scans = [
        [
            [digest, Path(series["path"]).name, *(str(series[name]) for name in FACTS)]
            for series, digest in zip(list_series(row), own, strict=True)
        ]
        for row, own in zip(rows, digests, strict=True)
    ]
    chosen = settings.model_dump(mode="json", exclude={"max_failure_rate"})
    described = [sorted(scans), sorted(segmentations), chosen, atlas_sha256, STAGE_VERSION]
    if weights:
        described.append(dict(weights))
    return digest_text(json.dumps(described, sort_keys=True))


def load_visit(store_dir: Path, cohort: str, subject_id: str, session_id: str, key: str) -> list[dict] | None:
    """The table cells of a visit that holds, or None: no sidecar, another key, or a file changed or gone."""
    sidecar_path = derivative_path(store_dir, cohort, subject_id, session_id, kind="sidecar")
    sidecar = _read_sidecar(sidecar_path)
    if sidecar.get("Key") != key:
        return None
    for name, digest in sidecar["Files"].items():
        path = sidecar_path.parent / name
        if not path.is_file() or digest_file(path) != digest:
            return None
    return sidecar["Volumes"]


def find_foreign(store_dir: Path, cohort: str, subject_id: str, session_id: str) -> Path | None:
    """A file that has a name of ours but stands in no sidecar of ours: another tool's, or somebody's own."""
    sidecar_path = derivative_path(store_dir, cohort, subject_id, session_id, kind="sidecar")
    folder, recorded = sidecar_path.parent, _read_sidecar(sidecar_path).get("Files", {})
    if sidecar_path.exists() and not _read_sidecar(sidecar_path):
        return sidecar_path
    for path in sorted(folder.glob(f"{entities(subject_id, session_id)}_*")):
        if "SRI24" in path.name and path != sidecar_path and path.name not in recorded:
            return path
    return None


def list_own_files(folder: Path) -> list[Path]:
    """The files in a visit's folder that this program wrote: its sidecars, and what those record."""
    found = [path for path in folder.glob(".sub-*") if _is_half_written(path)]
    for sidecar_path in folder.glob("sub-*_space-SRI24_desc-preproc.json"):
        sidecar = _read_sidecar(sidecar_path)
        names = [*sidecar["Files"], sidecar_path.name] if sidecar else []
        found += [folder / name for name in names if (folder / name).is_file()]
    return sorted(found)


def find_long_name(store_dir: Path, cohort: str, subject_id: str, session_id: str, run: str = "") -> str:
    """A name that files of a visit would have and that no file system takes; empty: there is none."""
    longest = derivative_path(store_dir, cohort, subject_id, session_id, run, "T1c", "inverse_xfm").name
    return longest if len(longest) > MAX_NAME else ""


def save_visit(
    store_dir: Path,
    cohort: str,
    subject_id: str,
    session_id: str,
    key: str,
    result: VisitResult,
    settings: PreprocessSettings,
    weights: Mapping[str, str] | None = None,
) -> list[dict]:
    """Write a visit's files, its sidecar last, and return its table cells with file names.

    A result that is not final gets no key, so that it is tried again. `weights` as of `compute_key`.
    """

    def find_path(kind: str, run: str = "", modality: str = "T1") -> Path:
        return derivative_path(store_dir, cohort, subject_id, session_id, run, modality, kind)

    sidecar_path = find_path("sidecar")
    old_files = _read_sidecar(sidecar_path).get("Files", {})
    _remove_half_written(sidecar_path.parent)
    contents = {find_path(*file_key): content for file_key, content in result.files.items()}
    digests = {path.name: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    # What is about to be written is recorded first, so that a killed run leaves no file of ours unrecorded.
    _write_sidecar(sidecar_path, {"Key": "", "Files": old_files | digests, "Volumes": []})
    for path, content in contents.items():
        with write_atomically(path) as beside:
            beside.write_bytes(content)
    mask_name = find_path(*result.mask_key).name if result.mask_key else ""
    for cell in result.cells:
        is_kept = cell["status"] == "kept"
        path = find_path("preproc", cell["run"], cell["modality"])
        cell["path"] = path.name if is_kept else ""
        picture_path = find_path("picture", cell["run"], cell["modality"])
        cell["picture_path"] = picture_path.name if is_kept else ""
        cell["mask_path"] = mask_name if is_kept else ""
        cell["volume_sha256"] = digests[path.name] if is_kept else ""
        cell["segmentations"] = _name_segmentations(cell["segmentations"], find_path)
    sidecar = {
        "Key": key if result.is_final else "",
        "SkullStripped": True,
        "SpatialReference": {"Name": "SRI24", "SpacingInMillimetres": settings.spacing_mm},
        "Files": dict(sorted(digests.items())),
        "Volumes": result.cells,
    }
    if weights:
        sidecar["Weights"] = dict(weights)
    for name in old_files.keys() - digests.keys():
        (sidecar_path.parent / name).unlink(missing_ok=True)
    _write_sidecar(sidecar_path, sidecar)
    return result.cells


def _write_sidecar(path: Path, content: dict) -> None:
    write_if_changed(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _remove_half_written(folder: Path) -> None:
    """Remove what a killed process of ours left beside a final name; the shard's lock is held."""
    for path in folder.glob(".sub-*"):
        if _is_half_written(path):
            remove_half_written(path)


def _is_half_written(path: Path) -> bool:
    return bool(HALF_WRITTEN.fullmatch(path.name)) and not path.is_symlink()


def _name_segmentations(text: str, find_path) -> str:
    """What is recorded of a visit's segmentations, with the names of their files."""
    described = json.loads(text or "{}")
    for name, item in described.items():
        item["path"] = "" if "reason" in item else find_path(f"dseg-{name}").name
    return json.dumps(described, sort_keys=True) if described else ""


def describe_dataset(store_dir: Path, cohort: str) -> None:
    """Write the derivative's `dataset_description.json`, and `.bidsignore` for validators."""
    from braing3n import __version__

    description = {
        "Name": f"{cohort} in SRI24",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "braing3n", "Version": __version__}],
    }
    folder = Path(store_dir) / cohort
    _check_ours(folder / "dataset_description.json")
    write_if_changed(folder / "dataset_description.json", json.dumps(description, indent=1) + "\n")
    write_if_changed(folder / ".bidsignore", "".join(f"{pattern}\n" for pattern in NOT_BIDS))


def _check_ours(path: Path) -> None:
    """Refuse a folder that is another dataset.

    Raises:
        BrainG3nError: its `dataset_description.json` was not written by this program.
    """
    if not path.exists():
        return
    makers = read_json(path).get("GeneratedBy")
    names = (
        [maker.get("Name") for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
    )
    if "braing3n" not in names:
        raise BrainG3nError(
            f"{path.parent}: is a dataset that braing3n did not write (see {path.name}); nothing in it is "
            "replaced; give another output folder."
        )


def _read_sidecar(path: Path) -> dict:
    """A sidecar of ours; nothing where it is missing, or says anything that we would not have written."""
    sidecar = read_json(path)
    files, volumes = sidecar.get("Files"), sidecar.get("Volumes")
    if not (isinstance(files, dict) and isinstance(volumes, list) and isinstance(sidecar.get("Key"), str)):
        return {}
    names = [cell.get(name) for cell in volumes if isinstance(cell, dict) for name in CELL_PATHS]
    are_ours = all(re.fullmatch(OWN_NAME, name) and isinstance(files[name], str) for name in files)
    return sidecar if are_ours and all(name in ("", *files) for name in names) else {}
