"""Find the scans of a BIDS dataset by its file names: one stat a file, nothing opened but a header line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from braing3n.cohort import Scan, Walk
from braing3n.cohort.tables import ID_COLUMNS, find_column, read_rows
from braing3n.core.errors import CohortError
from braing3n.inventory.coverage import is_partial, measure_extent_mm
from braing3n.inventory.files import check_raw_dir, list_files
from braing3n.inventory.scans import Segmentation, attach_segmentations
from braing3n.inventory.sidecars import Sidecars, has_contrast, split_name

Item = TypeVar("Item", Scan, Segmentation)
MODALITIES = {"T1w": "T1", "T2w": "T2", "FLAIR": "FLAIR"}
UNIT1 = {"UNIT1": "T1"}  # of MP2RAGE: T1-weighted, with a background of noise
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
TABLE_ENDS = ("_sessions.tsv", "_scans.tsv")
# Images of a scanner's series that no reader of T1 wants: `part-` says which half of a complex image one is.
PARTS = ("mag",)
MAX_ECHOES = 1000
SPACES = {"MNI": "mni", "SRI24": "sri24", "TAL": "talairach", "ACPC": "acpc"}
OWN_SPACES = ("T1w", "orig", "individual")


def find_bids_scans(raw_dir: Path, cohort: str, options: Mapping[str, Any] | None = None) -> Walk:
    """The scans of a BIDS dataset, with or without sessions.

    A mask, dseg or roi with `label-` or `desc-` (lesion, tumour) goes with its visit.
    `ce-*` on a T1w is T1c, `desc-brain` is stripped, `space-*` gives the raw space. Of two files that
    would be the same volume, the whole head before a slab, then the rawer is taken and the other reported.

    Args:
        options: with `accept_unit1`, MP2RAGE's UNIT1 is a T1.

    Raises:
        CohortError: no folder, or a participants.tsv without its id column.
    """
    check_raw_dir(raw_dir, cohort)
    _check_participants(raw_dir / "participants.tsv", cohort)
    walk = Walk()
    segmentations: list[Segmentation] = []
    ignored = read_ignored(raw_dir)
    suffixes = MODALITIES | (UNIT1 if (options or {}).get("accept_unit1") else {})
    for path, stamp in list_files(raw_dir, SKIPPED_DIRS, walk):
        if is_ignored(Path(path).relative_to(raw_dir).as_posix(), ignored):
            walk.unused[path] = ".bidsignore names it"
        else:
            sort_file(Path(path), stamp, cohort, walk, segmentations, suffixes)
    walk.scans = _settle_folders(walk.scans, raw_dir, walk)
    segmentations = _settle_folders(segmentations, raw_dir, walk)
    sidecars = Sidecars(raw_dir)
    walk.scans = [find_contrast(scan, sidecars) for scan in walk.scans]
    walk.scans = attach_segmentations(_choose(walk), segmentations, walk)
    return walk


def read_ignored(raw_dir: Path) -> list[str]:
    """The patterns of `.bidsignore`."""
    path = raw_dir / ".bidsignore"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether a path below the dataset's folder is ignored: by its own name or that of a folder it lies in.

    As in a `.gitignore`: a pattern with a slash inside counts from the top, `!` takes a path back.
    """
    parts = path.split("/")
    heads = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    is_out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").rstrip("/").removeprefix("**/")
        is_anchored = "/" in wanted
        names = heads if is_anchored else parts
        names = names[:-1] if pattern.endswith("/") else names
        if any(fnmatchcase(name, wanted.lstrip("/")) for name in names):
            is_out = not pattern.startswith("!")
    return is_out


def _settle_folders(items: list[Item], raw_dir: Path, walk: Walk) -> list[Item]:
    """The files whose name and folders agree on person and session; a name without `ses-` takes its folder's.

    A scan that lies in another person's folder is nobody's: which of the two is right, no file says.
    """
    settled, strays = [], []
    for item in items:
        folders = Path(item.path).relative_to(raw_dir).parts[:-1]
        inside = {name[:3]: name[4:] for name in folders if name.startswith(("sub-", "ses-"))}
        named = {"sub": item.subject_id, "ses": item.session_id or inside.get("ses", "")}
        odd = [name for name, label in inside.items() if named[name] != label]
        if odd:
            name = odd[0]
            walk.unused[item.path] = (
                f"its name says {name}-{named[name]} and its folder {name}-{inside[name]}"
            )
            strays.append(item.path)
        else:
            settled.append(replace(item, session_id=named["ses"]))
    if strays:
        walk.warnings.append(
            f"{len(strays)} files lie in another person's or session's folder than their names say and are "
            f"not read, such as {strays[0]}; correct the name or move the file."
        )
    return settled


def find_contrast(scan: Scan, sidecars: Sidecars) -> Scan:
    """A T1 whose sidecar names a contrast agent is a T1c."""
    if scan.modality == "T1" and has_contrast(sidecars.read(Path(scan.path))[0]):
        return replace(scan, modality="T1c")
    return scan


def _check_participants(path: Path, cohort: str) -> None:
    if not path.exists():
        return
    columns, _, _ = read_rows(path)
    if columns and not find_column(columns, ID_COLUMNS["sub-"]):
        raise CohortError(
            f"{cohort}: {path} has no column 'participant_id' (its columns: {', '.join(columns)}); "
            "rename the column with the subjects' ids."
        )


def sort_file(
    path: Path,
    stamp: str,
    cohort: str,
    walk: Walk,
    segmentations: list[Segmentation],
    suffixes: Mapping[str, str] = MODALITIES,
) -> None:
    """Put one file among the scans, the tables or the unused."""
    if path.name in METADATA:
        return
    if path.name.endswith(".json") or path.name == "participants.tsv" or path.name.endswith(TABLE_ENDS):
        walk.tables.append(path)
        return
    extension = next((end for end in EXTENSIONS if path.name.endswith(end)), None)
    if extension is None:
        walk.unused[path.as_posix()] = _describe_other(path.name)
        return
    entities, suffix = split_name(path.name.removesuffix(extension))
    name = entities.get("label") or entities.get("desc", "")
    if suffix in SEGMENTATIONS and entities.get("sub") and name not in ("", "brain"):
        item = Segmentation(entities["sub"], entities.get("ses", ""), name, path.as_posix(), stamp)
        segmentations.append(item)
        return
    reason = _refuse(suffix, entities, suffixes)
    if reason:
        walk.unused[path.as_posix()] = reason
        return
    person_id = f"{cohort}/{entities['sub']}"
    walk.scans.append(
        Scan(
            subject_id=entities["sub"],
            session_id=entities.get("ses", ""),
            run=entities.get("run", ""),
            modality="T1c" if suffix == "T1w" and "ce" in entities else suffixes[suffix],
            path=path.as_posix(),
            stamp=stamp,
            is_stripped=entities.get("desc") == "brain",
            raw_space=_find_space(entities.get("space", "")) or "native",
            person_id=person_id,
            group_id=person_id,
        )
    )


def _describe_other(name: str) -> str:
    """Why a file that is neither an image nor one of the known tables is not read."""
    ending = next((end for end in (*EXTENSIONS, ".json", ".tsv") if name.lower().endswith(end)), "")
    if not ending or (ending == ".tsv" and name.endswith(ending)):
        return "a table that is not read" if ending else "not a NIfTI file"
    return f"its ending is not '{ending}' in lower case; rename it"


def _refuse(suffix: str, entities: dict[str, str], suffixes: Mapping[str, str]) -> str:
    """Why a NIfTI file is no scan of ours; empty where it is one."""
    if suffix not in suffixes:
        more = " (the option accept_unit1 takes it as T1)" if suffix in UNIT1 else ""
        return f"suffix '{suffix}' is not one of {', '.join(suffixes)}{more}"
    if not entities.get("sub"):
        return "no sub- entity in the name"
    # Else an id such as `=cmd` would begin a cell of our tables, which a spreadsheet runs.
    for name in ("sub", "ses", "run"):
        if not re.match("[A-Za-z0-9]", entities.get(name, "1")):
            return f"{name}-{entities[name]} is no label, which begins with a letter or a digit"
    if entities.get("desc", "brain") != "brain":
        return f"desc-{entities['desc']} is not known"
    if entities.get("part", "mag") not in PARTS:
        return f"part-{entities['part']} is not the magnitude image"
    if "inv" in entities:
        return f"inv-{entities['inv']} is an inversion image, not the uniform one"
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
    """One scan a volume: heads before slabs and stripped ones, native before registered, T1w before UNIT1.

    A header is read only where there is a choice.
    """
    rivals: dict[tuple, list[Scan]] = defaultdict(list)
    for scan in walk.scans:
        rivals[scan.subject_id, scan.session_id, scan.run, scan.modality].append(scan)
    for scans in rivals.values():
        if len(scans) > 1:
            scans.sort(key=_rank)
        taken = Path(scans[0].path).name
        reason = f"a second scan of the visit and modality; {taken} is taken"
        walk.left_out += [(scan, reason) for scan in scans[1:]]
    return [replace(rivals[key][0], spares=tuple(rivals[key][1:])) for key in sorted(rivals)]


def _rank(scan: Scan) -> tuple:
    is_slab = is_partial(measure_extent_mm(scan.path, scan.stamp))
    rawness = is_slab, scan.is_stripped, scan.raw_space != "native", "_UNIT1." in scan.path
    return *rawness, _rank_echo(scan), scan.path


def _rank_echo(scan: Scan) -> int:
    """What is combined from echoes first; else of a T2 the last echo, which weighs T2 most, or the first."""
    echo = split_name(Path(scan.path).name)[0].get("echo", "")
    number = int(echo) if echo.isdecimal() else 0
    return MAX_ECHOES - number if number and scan.modality == "T2" else number
