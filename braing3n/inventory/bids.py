"""Find the scans of a BIDS dataset by its file names: one stat a file, nothing opened but a header line."""

from __future__ import annotations

from pathlib import Path

from braing3n.cohort import Scan, Walk
from braing3n.errors import CohortError
from braing3n.inventory.files import list_files
from braing3n.inventory.scans import Segmentation, attach_segmentations

MODALITIES = {"T1w": "T1", "T2w": "T2", "FLAIR": "FLAIR"}
SEGMENTATIONS = ("mask", "dseg", "roi")  # with label- or desc-, which says of what
EXTENSIONS = (".nii.gz", ".nii")
SKIPPED_DIRS = {
    "derivatives": "folder of derived data",
    "sourcedata": "folder of source data",
    "code": "folder of code",
}
# The files of a dataset that are neither scans nor left over.
METADATA = {
    "dataset_description.json",
    "participants.json",
    "README",
    "README.md",
    "README.txt",
    "CHANGES",
    "LICENSE",
}
SPACES = {"MNI": "mni", "SRI24": "sri24", "TAL": "talairach", "ACPC": "acpc"}
OWN_SPACES = ("T1w", "orig", "individual")


def find_bids_scans(raw_dir: Path, cohort: str) -> Walk:
    """The scans of a BIDS dataset, with or without sessions.

    A mask, dseg or roi with `label-` or `desc-` (lesion, tumour) goes with its visit.
    `ce-*` on a T1w is T1c, `desc-brain` is stripped, `space-*` tells the raw space. Of two files that
    would be the same volume, the rawer is taken and the other reported.

    Raises:
        CohortError: no folder, or a participants.tsv without its id column.
    """
    if not raw_dir.is_dir():
        raise CohortError(
            f"{cohort}: the raw folder '{raw_dir}' does not exist; mend cohorts.{cohort}.raw_dir."
        )
    _check_participants(raw_dir / "participants.tsv", cohort)
    walk = Walk()
    segmentations: list[Segmentation] = []
    for path, stamp in list_files(raw_dir, SKIPPED_DIRS, walk):
        sort_file(Path(path), stamp, cohort, walk, segmentations)
    walk.scans = attach_segmentations(_choose(walk), segmentations, walk)
    return walk


def _check_participants(path: Path, cohort: str) -> None:
    if not path.exists():
        return
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline().rstrip("\r\n").split("\t")
    if "participant_id" not in columns:
        raise CohortError(
            f"{cohort}: {path} has no column 'participant_id' (its columns: {', '.join(columns)}); "
            "rename the column with the subjects' ids, and keep tabs between columns."
        )


def sort_file(path: Path, stamp: str, cohort: str, walk: Walk, segmentations: list[Segmentation]) -> None:
    """Put one file among the scans, the tables or the unused."""
    if path.name in METADATA:
        return
    if path.name.endswith(".json") or path.name == "participants.tsv" or path.name.endswith("_sessions.tsv"):
        walk.tables.append(path)
        return
    extension = next((end for end in EXTENSIONS if path.name.endswith(end)), None)
    if extension is None:
        walk.unused[path.as_posix()] = "not a NIfTI file"
        return
    *pairs, suffix = path.name.removesuffix(extension).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    name = entities.get("label") or entities.get("desc", "")
    if suffix in SEGMENTATIONS and entities.get("sub") and name not in ("", "brain"):
        visit = entities["sub"], entities.get("ses", "")
        segmentations.append(Segmentation(*visit, name, path.as_posix(), stamp))
        return
    reason = _refuse(suffix, entities)
    if reason:
        walk.unused[path.as_posix()] = reason
        return
    person_id = f"{cohort}/{entities['sub']}"
    walk.scans.append(
        Scan(
            subject_id=entities["sub"],
            session_id=entities.get("ses", ""),
            run=entities.get("run", ""),
            modality="T1c" if suffix == "T1w" and "ce" in entities else MODALITIES[suffix],
            path=path.as_posix(),
            stamp=stamp,
            is_stripped=entities.get("desc") == "brain",
            raw_space=_find_space(entities.get("space", "")) or "native",
            person_id=person_id,
            group_id=person_id,
        )
    )


def _refuse(suffix: str, entities: dict[str, str]) -> str:
    """Why a NIfTI file is no scan of ours; empty where it is one."""
    if suffix not in MODALITIES:
        return f"suffix '{suffix}' is not one of {', '.join(MODALITIES)}"
    if not entities.get("sub"):
        return "no sub- entity in the name"
    if entities.get("desc", "brain") != "brain":
        return f"desc-{entities['desc']} is not known"
    if _find_space(entities.get("space", "")) is None:
        return f"space-{entities['space']} is not known"
    return ""


def _find_space(space: str) -> str | None:
    """The raw space that a `space-` entity names; None where it is not known."""
    if not space:
        return "native"
    if space in OWN_SPACES:
        return "coregistered"
    return next((ours for start, ours in SPACES.items() if space.upper().startswith(start)), None)


def _choose(walk: Walk) -> list[Scan]:
    """One scan a volume: whole heads before stripped ones, native before registered."""
    chosen: dict[tuple, Scan] = {}
    for scan in sorted(
        walk.scans, key=lambda item: (item.is_stripped, item.raw_space != "native", item.path)
    ):
        key = (scan.subject_id, scan.session_id, scan.run, scan.modality)
        if key in chosen:
            taken = Path(chosen[key].path).name
            walk.left_out.append((scan, f"a second scan of the visit and modality; {taken} is taken"))
        else:
            chosen[key] = scan
    return [chosen[key] for key in sorted(chosen)]
