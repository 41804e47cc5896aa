"""The content-keyed store: a visit whose key and files still hold is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from braing3n.bids import derivative_path
from braing3n.config import PreprocessSettings
from braing3n.preprocess import STAGE_VERSION
from braing3n.preprocess.formats import digest_scan
from braing3n.preprocess.visit import VisitResult
from braing3n.runtime import digest_file, digest_text, write_atomically, write_if_changed

STATE = ("is_bias_corrected", "is_defaced", "is_stripped", "raw_space")
NOT_BIDS = ("*.jpg", "/*.html", "/*.parquet", ".*.lock")  # what lies in the derivative beside it
FACTS = ("modality", "run", "source_format", "axes", *STATE)


def digest_raw(rows: list[Mapping]) -> list[str]:
    """The sha256 of each row's scan; empty where there is none to read."""
    return [_digest(row["path"]) for row in rows]


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
    rows: list[Mapping],
    digests: list[str],
    settings: PreprocessSettings,
    atlas_sha256: str,
    weights: Mapping[str, str] | None = None,
) -> str:
    """What a visit's result depends on, as one sha256.

    Bytes, format and raw state of its scans, settings, atlas, stage version; names too, since reasons hold
    them; and the networks that users bring, `weights` (name -> sha256).
    """
    segmentations = [told for row in rows for told in digest_segmentations(row)]
    scans = [
        [digest, Path(row["path"]).name, *(str(row[name]) for name in FACTS)]
        for row, digest in zip(rows, digests, strict=True)
    ]
    chosen = settings.model_dump(mode="json", exclude={"max_failure_rate"})
    told = [sorted(scans), sorted(segmentations), chosen, atlas_sha256, STAGE_VERSION]
    if weights:
        told.append(dict(weights))
    return digest_text(json.dumps(told, sort_keys=True))


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
    old_names = set(_read_sidecar(sidecar_path).get("Files", {}))
    for half_written in sidecar_path.parent.glob(".sub-*"):  # of a killed process; the shard's lock is ours
        half_written.unlink(missing_ok=True)
    digests = {}
    for file_key, content in result.files.items():
        path = find_path(*file_key)
        with write_atomically(path) as beside:
            beside.write_bytes(content)
        digests[path.name] = digest_file(path)
    for cell in result.cells:
        is_kept = cell["status"] == "kept"
        path = find_path("preproc", cell["run"], cell["modality"])
        cell["path"] = path.name if is_kept else ""
        picture_path = find_path("picture", cell["run"], cell["modality"])
        cell["picture_path"] = picture_path.name if is_kept else ""
        cell["mask_path"] = find_path(*result.mask_key).name if is_kept else ""
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
    write_if_changed(sidecar_path, json.dumps(sidecar, indent=1, sort_keys=True) + "\n")
    for name in old_names - set(digests):
        (sidecar_path.parent / name).unlink(missing_ok=True)
    return result.cells


def _name_segmentations(text: str, find_path) -> str:
    """What is told of a visit's segmentations, with the names of their files."""
    told = json.loads(text or "{}")
    for name, item in told.items():
        item["path"] = "" if "reason" in item else find_path(f"dseg-{name}").name
    return json.dumps(told, sort_keys=True) if told else ""


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
    write_if_changed(folder / "dataset_description.json", json.dumps(description, indent=1) + "\n")
    write_if_changed(folder / ".bidsignore", "".join(f"{pattern}\n" for pattern in NOT_BIDS))


def _read_sidecar(path: Path) -> dict:
    """A sidecar's content; nothing where it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
