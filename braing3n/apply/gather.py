"""Make inventory rows of the files and folders that a user named on the command line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from braing3n.apply.contrast import parse_modality, parse_session, parse_subject
from braing3n.apply.series import find_series, is_dicom
from braing3n.cohort import Format, Scan, Walk
from braing3n.core.errors import BrainG3nError
from braing3n.inventory.bids import find_bids_scans, sort_file
from braing3n.inventory.coverage import is_partial, measure_extent_mm
from braing3n.inventory.files import list_files
from braing3n.inventory.scans import Segmentation, attach_segmentations

FORMATS: dict[str, Format] = {
    ".nii.gz": "NIfTI",
    ".nii": "NIfTI",
    ".mgz": "NIfTI",
    ".hdr": "NIfTI pair",
    ".img": "NIfTI pair",
}
BIDS_ENDS = ("_T1w", "_T2w", "_FLAIR")
NO_RANK = (False, 0.0, 0, 0)  # as of `Series`
NO_CONTRAST = "its name gives none of T1, T1c, T2 and FLAIR"
SAY_WHICH = "say which, with --t1, --t1c, --t2 or --flair before its path"


@dataclass
class Gathered:
    """The scans to preprocess, what is left out (name -> reason), and sentences for the user."""

    scans: list[Scan] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ranks: dict[str, tuple] = field(default_factory=dict)  # path -> which of two equals is better
    names: dict[str, str] = field(default_factory=dict)  # path -> how a message calls it
    certain: set[str] = field(default_factory=set)  # paths whose `sub-` or folder says whose they are

    def add(self, scan: Scan, name: str = "", rank: tuple = NO_RANK, is_certain: bool = False) -> None:
        """Add a scan whose modality may still be unknown; rank: as of `Series`."""
        self.scans.append(scan)
        if is_certain:
            self.certain.add(scan.path)
        self.ranks[scan.path] = (*rank, scan.path)
        self.names[scan.path] = name or Path(scan.path).name


@dataclass(frozen=True)
class Facts:
    """Facts that the user gives of all scans; empty or false ones are taken from names."""

    subject_id: str = ""
    session_id: str = ""
    is_stripped: bool = False
    is_bias_corrected: bool = False
    raw_space: str = ""
    axes: str = ""


def gather_scans(
    paths: Sequence[Path],
    by_modality: Mapping[str, Path],
    labels: Sequence[Path],
    facts: Facts,
    links_dir: Path,
) -> Gathered:
    """Find the scans of some files and folders (NIfTI, a BIDS tree, DICOM), with person and visit.

    Args:
        paths: their contrast comes from names, or from the descriptions of DICOM series.
        by_modality: scans whose contrast is given; with these, all scans are of one visit.
        labels: segmentations on the grids of scans of the one visit.
        links_dir: an empty folder, for series whose files lie among others'.

    Raises:
        BrainG3nError: a path does not exist, holds no image or no scan, or its contrast is not clear.
    """
    found = Gathered()
    for path in [*paths, *by_modality.values(), *labels]:
        if not path.exists():
            raise BrainG3nError(f"{path}: there is no such file or folder.")
    for path in paths:
        (_add_folder if path.is_dir() else _add_file)(path, found, links_dir)
    _settle_unnamed(found, {path.as_posix() for path in paths}, is_alone=not by_modality)
    for modality, path in by_modality.items():
        _add_named(modality, path, found, links_dir)
    if not found.scans:
        raise BrainG3nError(_explain_nothing([*paths, *by_modality.values()], found))
    given = {path.as_posix() for path in (*paths, *by_modality.values())}
    noted = [scan for scan in found.scans if scan.path in found.certain]
    people = sorted({scan.subject_id for scan in noted})
    if facts.subject_id and len(people) > 1:
        raise BrainG3nError(f"--subject names one person, but there are {', '.join(people)}; run them apart.")
    if by_modality:
        _join_visit(found, noted)
    found.scans = [_apply(scan, facts) for scan in found.scans]
    _choose(found, given)
    taken = {scan.path for scan in found.scans}  # what a folder leaves out, an option may take
    found.left_out = {name: why for name, why in found.left_out.items() if name not in taken}
    if labels:
        found.scans = _attach(labels, found.scans)
    return found


def _add_file(path: Path, found: Gathered, links_dir: Path) -> None:
    """One file; subject and contrast come from its BIDS name, or from the words of its name."""
    extension = next((end for end in FORMATS if path.name.lower().endswith(end)), None)
    if extension is None:
        if not is_dicom(path):
            raise BrainG3nError(f"{path}: is neither NIfTI (.nii, .nii.gz) nor DICOM; give the image itself.")
        _add_dicom(path, found, links_dir)
        return
    stem = path.name[: -len(extension)]
    if stem.startswith("sub-") and stem.endswith(BIDS_ENDS):
        walk = Walk()
        sort_file(path, _stamp(path), "", walk, [])
        if not walk.scans:
            raise BrainG3nError(f"{path}: {'; '.join(walk.unused.values())}; rename it, or {SAY_WHICH}.")
        found.add(walk.scans[0], is_certain=True)
        return
    scan = _make_scan(path, parse_modality(stem), parse_subject(stem) or "01", parse_session(stem))
    found.add(scan, is_certain=stem.startswith("sub-"))


def _add_folder(path: Path, found: Gathered, links_dir: Path) -> None:
    """A BIDS tree, loose NIfTI files, or DICOM."""
    files = [Path(file) for file, _ in list_files(path, {}, Walk())]
    images = [file for file in files if any(file.name.lower().endswith(end) for end in FORMATS)]
    if not images:
        _add_dicom(path, found, links_dir)
    elif any(_is_bids(file) for file in images):
        walk = find_bids_scans(path, path.name)
        for scan in walk.scans:
            found.add(scan, is_certain=True)
        found.left_out |= {scan.path: reason for scan, reason in walk.left_out}
        found.left_out |= {
            name: why for name, why in walk.unused.items() if name.endswith((".nii", ".nii.gz"))
        }
    else:
        for file in images:
            _add_loose(file, path, found)
        if len(images) < len(files):
            _add_dicom(path, found, links_dir)


def _is_bids(file: Path) -> bool:
    return file.name.startswith("sub-") and file.name.removesuffix(".gz").removesuffix(".nii").endswith(
        BIDS_ENDS
    )


def _add_loose(file: Path, root: Path, found: Gathered) -> None:
    """A NIfTI file of a folder: sub-folders are people and visits; without them the name gives both."""
    extension = next(end for end in FORMATS if file.name.lower().endswith(end))
    if extension == ".img" and file.with_suffix(".hdr").exists():
        return
    stem = file.name[: -len(extension)]
    folders = [part for part in file.relative_to(root).parent.parts if parse_subject(part)]
    subject = parse_subject(folders[0] if folders else stem) or "01"
    session = folders[1].removeprefix("ses-") if len(folders) > 1 else parse_session(stem)
    scan = _make_scan(file, parse_modality(stem), subject, session)
    is_slab = is_partial(measure_extent_mm(scan.path, scan.stamp))
    found.add(scan, rank=(is_slab, 0.0, 0, 0), is_certain=bool(folders))


def _add_dicom(path: Path, found: Gathered, links_dir: Path) -> None:
    series = find_series(path, links_dir)
    usable = [item for item in series if not item.modality.startswith("-")]
    sessions = {(item.subject_id, item.session_id) for item in usable}
    if len(sessions) > len({subject for subject, _ in sessions}):
        found.notes.append(
            f"{path}: holds several studies, which are taken as visits of one person, by date; --session "
            "joins them to one visit, and two people need folders named sub-01 and sub-02, or a run each."
        )
    for item in series:
        scan = _make_scan(item.path, item.modality, item.subject_id or "01", item.session_id, "DICOM")
        found.add(scan, item.name, item.rank, is_certain=bool(item.subject_id))


def _add_named(modality: str, path: Path, found: Gathered, links_dir: Path) -> None:
    """A scan whose contrast the user gives; a folder must then hold one scan or one DICOM series."""
    other = Gathered()
    extension = next((end for end in FORMATS if path.name.lower().endswith(end)), None)
    if path.is_file() and extension:
        stem = path.name[: -len(extension)]
        other.add(_make_scan(path, modality, parse_subject(stem) or "01", parse_session(stem)))
        if path.name.startswith("sub-"):
            walk = Walk()
            sort_file(path, _stamp(path), "", walk, [])
            other.scans = walk.scans or other.scans
    elif path.is_dir():
        _add_folder(path, other, links_dir)
    elif is_dicom(path):
        _add_dicom(path, other, links_dir)
    if len(other.scans) != 1:
        held = ", ".join(other.names.values()) or "no image"
        raise BrainG3nError(f"{path}: holds {held}; give one file or one series as --{modality.lower()}.")
    scan = replace(other.scans[0], modality=modality)
    found.left_out |= other.left_out
    is_certain = bool(other.certain) or path.name.startswith("sub-")
    found.add(scan, ", ".join(other.names.values()), is_certain=is_certain)


def _settle_unnamed(found: Gathered, given: set[str], is_alone: bool) -> None:
    """Leave out other images; a single scan without a contrast is taken as T1, with a note."""
    unnamed = [scan for scan in found.scans if not scan.modality]
    if is_alone and len(found.scans) == len(unnamed) == 1:
        scan = unnamed[0]
        found.scans = [replace(scan, modality="T1")]
        found.notes.append(
            f"{found.names[scan.path]}: {NO_CONTRAST}; it is taken as T1. If it is another, {SAY_WHICH}."
        )
        return
    for scan in found.scans:
        why = scan.modality[1:] if scan.modality.startswith("-") else "" if scan.modality else NO_CONTRAST
        if why and scan.path in given:
            name = "" if why == NO_CONTRAST else "by its name or description "
            raise BrainG3nError(f"{scan.path}: {name}{why}; {SAY_WHICH}.")
        if why:
            found.left_out[found.names[scan.path]] = why
    found.scans = [scan for scan in found.scans if scan.modality and not scan.modality.startswith("-")]


def _explain_nothing(paths: Sequence[Path], found: Gathered) -> str:
    if not paths:
        return (
            "preprocess: name a scan or a folder of scans, such as `braing3n preprocess scan.nii.gz -o out/`."
        )
    where = ", ".join(map(str, paths))
    if not found.left_out:
        return f"{where}: holds no scan; give a NIfTI file, a folder of them, or a folder of DICOM files."
    name, why = next(iter(found.left_out.items()))
    n_more = len(found.left_out) - 1
    more = f", and {n_more} more are none either" if n_more else ""
    return f"{where}: holds no scan that can be used ({Path(name).name}: {why}{more}); {SAY_WHICH}."


def _join_visit(found: Gathered, noted: list[Scan]) -> None:
    """Assign all scans to one visit: that of a BIDS name or a folder, else that of the first scan."""
    visits = {(scan.subject_id, scan.session_id) for scan in noted}
    if len(visits) > 1:
        people = ", ".join(sorted({f"sub-{subject} {session}".strip() for subject, session in visits}))
        raise BrainG3nError(f"--t1, --t1c, --t2 and --flair go with one visit, but there are {people}.")
    home = (noted or found.scans)[0]
    found.scans = [
        replace(scan, subject_id=home.subject_id, session_id=home.session_id) for scan in found.scans
    ]


def _apply(scan: Scan, facts: Facts) -> Scan:
    """The scan with the facts that the user gives."""
    subject = facts.subject_id.removeprefix("sub-") or scan.subject_id
    return replace(
        scan,
        subject_id=subject,
        session_id=facts.session_id.removeprefix("ses-") or scan.session_id,
        is_stripped=scan.is_stripped or facts.is_stripped,
        is_bias_corrected=scan.is_bias_corrected or facts.is_bias_corrected,
        raw_space=facts.raw_space or scan.raw_space,
        axes=facts.axes or scan.axes,
        person_id=subject,
        group_id=subject,
        spares=tuple(_apply(spare, facts) for spare in scan.spares),
    )


def _choose(found: Gathered, given: set[str]) -> None:
    """One scan a visit and contrast; two that were both named are a mistake."""
    chosen: dict[tuple, Scan] = {}
    contrasts: dict[str, str] = {}
    spares: dict[tuple, list[Scan]] = defaultdict(list)
    for scan in sorted(found.scans, key=lambda scan: found.ranks[scan.path]):
        other = contrasts.setdefault(scan.path, scan.modality)
        if other != scan.modality:
            raise BrainG3nError(f"{scan.path}: is named as {other} and as {scan.modality}; name it once.")
        key = _find_key(scan)
        first = chosen.setdefault(key, scan)
        if first is scan:
            continue
        name, taken = found.names[scan.path], found.names[first.path]
        if scan.path == first.path:
            raise BrainG3nError(f"{scan.path}: is named twice, itself or by its folder; name it once.")
        if {scan.path, first.path} <= given:
            raise BrainG3nError(
                f"{taken} and {name} would both be the {scan.modality} of sub-{scan.subject_id}; "
                "give one of them, or run them apart with --subject or --session."
            )
        spares[key] += [scan, *scan.spares]
        found.left_out[name] = f"a second {scan.modality} of sub-{scan.subject_id}; {taken} is taken"
    found.scans = [replace(chosen[key], spares=(*chosen[key].spares, *spares[key])) for key in sorted(chosen)]


def _find_key(scan: Scan) -> tuple[str, str, str, str]:
    return scan.subject_id, scan.session_id, scan.run, scan.modality


def _attach(labels: Sequence[Path], scans: list[Scan]) -> list[Scan]:
    """The scans with the segmentations of the one visit."""
    visits = sorted({(scan.subject_id, scan.session_id) for scan in scans})
    if len(visits) > 1:
        raise BrainG3nError(
            f"--labels goes with one visit, and {len(visits)} were found; run them one by one."
        )
    walk = Walk()
    items = [Segmentation(*visits[0], _name_labels(path), path.as_posix(), _stamp(path)) for path in labels]
    scans = attach_segmentations(scans, items, walk)
    for path, why in walk.unused.items():
        raise BrainG3nError(f"--labels {path}: {why}; give files of different names.")
    return scans


def _name_labels(path: Path) -> str:
    """The name of a segmentation: its `label-` or `desc-`, else that of its file."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
    return entities.get("label") or entities.get("desc") or stem


def _make_scan(
    path: Path, modality: str, subject: str, session: str = "", source_format: Format | None = None
) -> Scan:
    extension = next((end for end in FORMATS if path.name.lower().endswith(end)), "")
    return Scan(
        subject_id=subject,
        session_id=session,
        run="",
        modality=modality,
        path=path.as_posix(),
        stamp=_stamp(path),
        source_format=source_format or FORMATS[extension],
    )


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
