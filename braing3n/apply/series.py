"""Sort a folder of DICOM files into series, and classify each from header fields without personal data."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from braing3n.apply.contrast import keep_protocol_words, parse_modality
from braing3n.cohort import Walk
from braing3n.cohort.headers import read_header
from braing3n.inventory.coverage import is_partial
from braing3n.inventory.files import list_files
from braing3n.preprocess.read.scan import MIN_SLICES

# Fields that separate series. UIDs are compared, never printed; of the agent only whether there is one.
TAGS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "StudyDate",
    "ContrastBolusAgent",
)
NO_AGENT = ("", "NO", "NONE", "N", "WITHOUT", "OHNE")
MADE = r"MPR|PROJECTION|SUBTRACT|ADC|TRACE|LOCALIZER|T1 MAP"  # in the image type
# Values of the image type of phases, real and imaginary parts, which are no magnitudes.
PARTS = r"(^|\\)(P|R|I|PHASE[^\\]*|PHS|REAL|IMAGINARY)(\\|$)"


@dataclass(frozen=True)
class Series:
    """One series: its folder (of links, if its files lie among others'), contrast, person and visit."""

    path: Path
    name: str  # for messages
    modality: str  # `-what` for another image; empty if it is not clear
    subject_id: str  # empty if no folder `sub-X` names it
    session_id: str
    rank: tuple  # of two series of one contrast the smaller is taken


@dataclass(frozen=True)
class _Image:
    path: Path
    study_uid: str
    series_uid: str
    number: int
    study_date: str
    is_mr: bool
    has_agent: bool


def is_dicom(path: Path) -> bool:
    """Whether a file is an image in DICOM."""
    return _read_image(path) is not None


def find_series(path: Path, links_dir: Path) -> list[Series]:
    """The series of a file or of a folder with all its sub-folders, by study date and number.

    Several studies of one person are visits 1, 2 ... by date; a folder `sub-X` (and `ses-Y`) in the path
    names them instead. A person's name or id in the files is not read.

    Args:
        links_dir: for folders of links, where the files of several series lie in one folder.
    """
    files = [Path(file) for file, _ in list_files(path, {}, Walk())] if path.is_dir() else [path]
    images = [image for file in files if (image := _read_image(file)) is not None]
    by_series: dict[tuple, list[_Image]] = defaultdict(list)
    for image in images:
        study = (_find_entity("sub", image.path), image.study_date, image.study_uid)
        by_series[(*study, image.number, image.series_uid)].append(image)
    found: list[tuple[tuple, Series]] = []
    for key, members in sorted(by_series.items(), key=lambda item: item[0]):
        home = path if path.is_file() else _find_home(members, files, links_dir)
        found.append((key[:3], _describe(members, home)))
    return _number_visits(found)


def _number_visits(found: list[tuple[tuple, Series]]) -> list[Series]:
    """The series with a session, if their path names none and their subject has several usable studies."""
    studies: dict[str, list[tuple]] = defaultdict(list)
    for study, series in found:
        if not series.modality.startswith("-") and study not in studies[study[0]]:
            studies[study[0]].append(study)
    numbered = []
    for study, series in found:
        known = studies[study[0]]
        number = str(known.index(study) + 1) if study in known and len(known) > 1 else ""
        numbered.append(replace(series, session_id=series.session_id or number))
    return numbered


def _read_image(path: Path) -> _Image | None:
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the values that are odd
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            number = str(header.get("SeriesNumber") or 0)
            agent = str(header.get("ContrastBolusAgent") or "").strip().upper()
            return _Image(
                path,
                str(header.get("StudyInstanceUID", "")),
                str(header.SeriesInstanceUID),
                int(number) if number.isdigit() else 0,
                str(header.get("StudyDate", "")),
                str(header.get("Modality", "MR")) == "MR",
                agent not in NO_AGENT,
            )
    except Exception:  # no DICOM, or none with images; its message may quote the file
        return None


def _find_entity(name: str, path: Path) -> str:
    """The value of `sub-` or `ses-` in the path's folders; empty if there is none."""
    found = re.findall(rf"(?:^|[/_]){name}-([0-9A-Za-z]+)", path.parent.as_posix())
    return found[-1] if found else ""


def _find_home(members: list[_Image], files: list[Path], links_dir: Path) -> Path:
    """The folder that holds this series and nothing else, or one of links to its files."""
    folder = members[0].path.parent
    if {member.path for member in members} == {file for file in files if file.parent == folder}:
        return folder
    stem = f"series-{members[0].number:03d}"
    n_before = len(list(links_dir.glob(f"{stem}*")))
    home = links_dir / (f"{stem}-{n_before + 1}" if n_before else stem)
    home.mkdir(parents=True)
    for index, member in enumerate(members):
        (home / f"{index:05d}.dcm").symlink_to(member.path.absolute())
    return home


def _describe(members: list[_Image], home: Path) -> Series:
    facts = read_header([member.path for member in members])
    description = facts.get("description", "")
    n_slices, edge_mm = int(facts.get("n_slices", 0)), float(facts.get("spacing_mm", 99))
    image_type = facts.get("image_type", "").upper()
    is_slab = is_partial(float(facts.get("extent_mm", "inf")))
    modality = parse_modality(description)
    if not members[0].is_mr:
        modality = "-not MR"
    elif modality == "T1" and any(member.has_agent for member in members):
        modality = "T1c"
    elif not modality.startswith("-") and re.search(MADE, image_type):
        modality = "-made from another series"
    elif not modality.startswith("-") and re.search(PARTS, image_type):
        modality = "-no magnitude image"
    if not modality.startswith("-") and n_slices < MIN_SLICES:
        modality = f"-only {n_slices} slices"
    words = keep_protocol_words(description) or "no description"
    name = f"series {members[0].number} '{words}'"
    subject, session = (_find_entity(entity, members[0].path) for entity in ("sub", "ses"))
    return Series(home, name, modality, subject, session, (is_slab, edge_mm, -n_slices, members[0].number))
