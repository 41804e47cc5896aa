"""Find a declared cohort's scans: which files fit, which are taken, and why not the others."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from braing3n.cohort import Cohort, Pattern, Scan, Walk
from braing3n.cohort.dates import parse_date
from braing3n.cohort.records import CohortTables
from braing3n.cohort.tables import is_table
from braing3n.core.contracts import MODALITIES
from braing3n.inventory.files import check_raw_dir, list_files, to_prefix

PAIRED = ("NIfTI pair", "Analyze")
SECOND_COPY = "a second copy"
NO_MODALITY = f"its modality is none of {', '.join(MODALITIES)}"
KNOWN_MODALITIES = {name.lower(): name for name in MODALITIES}
# (paths of a series' files, their stamp) -> the header's facts
ReadHeader = Callable[[list[str], str], Mapping[str, str]]


@dataclass
class Candidate:
    """The files of one scan before anybody chose."""

    pattern: Pattern
    groups: dict[str, str]
    files: list[tuple[str, str]] = field(default_factory=list)  # path and stamp

    @property
    def path(self) -> Path:
        """The file; of a pair the header; of a DICOM series the folder."""
        first = Path(self.files[0][0])
        if self.pattern.source_format == "DICOM":
            return first.parent
        return first.with_suffix(".hdr") if self.pattern.source_format in PAIRED else first

    @cached_property
    def stamp(self) -> str:
        """Changes with any file's size or time."""
        if len(self.files) == 1:
            return self.files[0][1]
        text = "\n".join(f"{_name(path)} {stamp}" for path, stamp in self.files)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class SeriesFacts(Mapping):
    """Facts of a series' path, then those of its header, which is read once one of them is asked for.

    Most series of a download are none of ours by their names, and opening files is what a walk waits for.
    """

    def __init__(self, own: dict[str, str], read: Callable[[], Mapping[str, str]]):
        self.own, self._read = own, read

    @cached_property
    def whole(self) -> dict[str, str]:
        """All facts, in a dictionary."""
        return dict(self._read()) | self.own

    def __getitem__(self, name: str) -> str:
        return self.own[name] if name in self.own else self.whole[name]

    def __iter__(self):
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)


def find_scans(
    cohort: Cohort, raw_dir: Path, key: str, options: Mapping[str, Any], read_header: ReadHeader
) -> Walk:
    """Walk a raw folder and settle which scans the cohort has.

    Raises:
        CohortError: no such folder, or a table that choosing needs cannot be read.
    """
    check_raw_dir(raw_dir, key)
    walk = Walk()
    candidates = sort_files(cohort, raw_dir, walk)
    found, delineated = [], []
    for candidate in candidates:
        if candidate.pattern.label:
            delineated.append(candidate)
            continue
        scan, reason = describe(candidate, cohort, key, options, read_header)
        if reason:
            walk.left_out.append((scan, reason))
        else:
            found.append((scan, candidate))
    odd = [(scan, reason) for scan, reason in walk.left_out if reason.startswith(NO_MODALITY)]
    if odd:
        walk.warnings.append(
            f"scans left out for their modality: {len(odd)}, such as {odd[0][0].path}: {odd[0][1]}. In the "
            "cohort's file give their pattern a modality or a reason, or correct its group or `classify`"
        )
    scans = [_settle(scan, is_taken=True) for scan in _choose(found, cohort, options, walk)]
    if cohort.keep or cohort.family:
        scans = _ask_tables(scans, cohort, key, options, walk)
    scans = attach_segmentations(scans, [name_segmentation(item, cohort) for item in delineated], walk)
    walk.scans = sorted(scans, key=lambda scan: (scan.subject_id, scan.session_id, scan.run, scan.modality))
    walk.left_out = [(_settle(scan, is_taken=False), reason) for scan, reason in walk.left_out]
    walk.left_out.sort(key=lambda item: item[0].path)
    return walk


def _settle(scan: Scan, is_taken: bool) -> Scan:
    """A scan whose facts are a dictionary: of one that is left out those of its path."""
    if not isinstance(scan.facts, SeriesFacts):
        return scan
    return replace(scan, facts=scan.facts.whole if is_taken else scan.facts.own)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


@cache
def _compile(pattern: str) -> re.Pattern:
    return re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE | re.DOTALL)


def sort_files(cohort: Cohort, raw_dir: Path, walk: Walk) -> list[Candidate]:
    """Every file is a candidate's, a table, or unused."""
    candidates: dict[tuple, Candidate] = {}
    patterns = [(number, _compile(pattern.path), pattern) for number, pattern in enumerate(cohort.patterns)]
    tables: list[Path] = []
    n_above = len(to_prefix(raw_dir))
    for path, stamp in list_files(raw_dir, {}, walk):
        for number, expression, pattern in patterns:
            match = expression.fullmatch(path[n_above:])
            if match is None:
                continue
            if pattern.reason:
                walk.unused[path] = pattern.reason
                break
            unit = (number, _find_unit(path, pattern))
            if unit not in candidates:
                groups = {name: text or "" for name, text in match.groupdict().items()}
                candidates[unit] = Candidate(pattern, groups)
            candidates[unit].files.append((path, stamp))
            break
        else:
            if any(re.fullmatch(table.files, _name(path), re.IGNORECASE) for table in cohort.tables):
                tables.append(Path(path))
            else:
                walk.unused[path] = "belongs to no rule of the cohort"
    for file in sorted(tables):
        if any(is_table(file, table) for table in cohort.tables):
            walk.tables.append(file)
        else:
            walk.unused[file.as_posix()] = "no table of the cohort: it has none of their columns"
    return list(candidates.values())


def _find_unit(path: str, pattern: Pattern) -> str:
    """What the files of one scan share: their folder, or of a pair the path without its ending."""
    if pattern.source_format == "DICOM":
        return path.rpartition("/")[0]
    return path.rpartition(".")[0] if pattern.source_format in PAIRED else path


def name_segmentation(candidate: Candidate, cohort: Cohort) -> Segmentation:
    """What a candidate of a pattern with a label is, and whose."""
    groups, pattern = candidate.groups, candidate.pattern
    day = parse_date(groups.get("date", ""))
    session = groups.get("session", "") or (day.isoformat().replace("-", "") if day else "")
    rank = cohort.patterns.index(pattern)
    path = candidate.path.as_posix()
    subject = cohort.name_subject(groups["subject"])
    return Segmentation(subject, session, pattern.label, path, candidate.stamp, rank)


def describe(
    candidate: Candidate, cohort: Cohort, key: str, options: Mapping[str, Any], read_header: ReadHeader
) -> tuple[Scan, str]:
    """A candidate as a scan, and why it is none of ours where that is already clear."""
    pattern, path = candidate.pattern, candidate.path
    facts = {
        **pattern.facts,
        **candidate.groups,
        "name": path.name,
        "folder": path.parent.as_posix(),
        "n_files": str(len(candidate.files)),
        "n_bytes": str(sum(int(stamp.split("-")[0]) for _, stamp in candidate.files)),
    }
    if "date" in facts:
        day = parse_date(facts["date"])
        facts["date"] = day.isoformat() if day else ""
    subject = cohort.name_subject(facts.get("subject", ""))
    person = cohort.person(subject) if cohort.person else f"{key}/{subject}"
    scan = Scan(
        subject_id=subject,
        session_id=cohort.name_session(facts.get("session", "")) or facts.get("date", "").replace("-", ""),
        run=facts.get("run", "") if "run" in pattern.path else "",
        modality=pattern.modality or facts.get("modality", ""),
        path=path.as_posix(),
        stamp=candidate.stamp,
        source_format=pattern.source_format,
        axes=pattern.axes,
        is_bias_corrected=pattern.is_bias_corrected,
        is_defaced=pattern.is_defaced,
        is_stripped=pattern.is_stripped,
        raw_space=pattern.raw_space,
        person_id=person,
        group_id=person,
        facts=facts,
    )
    if cohort.has_header_facts and pattern.source_format == "DICOM":
        paths = [file for file, _ in candidate.files]
        scan = replace(scan, facts=SeriesFacts(facts, lambda: read_header(paths, candidate.stamp)))
    if pattern.source_format in PAIRED and len(candidate.files) < 2:
        return scan, "half a pair: the .hdr or the .img is missing"
    modality = cohort.classify(scan.facts, options) if cohort.classify else scan.modality
    if modality.startswith("-"):
        return scan, modality[1:]
    known = KNOWN_MODALITIES.get(modality.lower())
    if known is None:
        return scan, f"{NO_MODALITY} ('{modality}')"
    return replace(scan, modality=known), ""


def _choose(
    found: list[tuple[Scan, Candidate]], cohort: Cohort, options: Mapping[str, Any], walk: Walk
) -> list[Scan]:
    """One scan a visit and modality; with the option `all_repeats` every one, with a run number."""
    visits: dict[tuple, list[tuple[Scan, Candidate]]] = defaultdict(list)
    for scan, candidate in found:
        visits[scan.subject_id, scan.session_id, scan.run, scan.modality].append((scan, candidate))
    chosen: list[Scan] = []
    for rivals in visits.values():
        ranked = _drop_copies(sorted(rivals, key=lambda item: _rank(item[0], cohort, options)), walk)
        if options.get("all_repeats") and len(ranked) > 1:
            chosen += [replace(scan, run=str(number)) for number, scan in enumerate(ranked, start=1)]
            continue
        chosen.append(replace(ranked[0], spares=tuple(ranked[1:])))
        walk.left_out += [(scan, _explain(scan, ranked[0], cohort, options)) for scan in ranked[1:]]
    return chosen


def _rank(scan: Scan, cohort: Cohort, options: Mapping[str, Any]) -> tuple:
    """What is preferred comes first; at last the path that is shorter, then earlier."""
    ranks = [preference.rank(scan.facts, options) for preference in cohort.prefer]
    return (*ranks, len(PurePosixPath(scan.path).parts), scan.path)


def _drop_copies(ranked: list[tuple[Scan, Candidate]], walk: Walk) -> list[Scan]:
    """A scan whose files have the names and sizes of a better one's is a copy: reported, and left out."""
    kept: dict[tuple, Scan] = {}
    for scan, candidate in ranked:
        content = tuple((_name(path), stamp.split("-")[0]) for path, stamp in candidate.files)
        tail = tuple(sorted((name, text) for name, text in candidate.groups.items()))
        first = kept.setdefault((content, tail), scan)
        if first is not scan:
            walk.left_out.append((scan, f"{SECOND_COPY}; {first.path} is taken"))
    return list(kept.values())


@dataclass(frozen=True)
class Segmentation:
    """A file that delineates something on a scan of a visit; of one label the smallest `rank` is taken."""

    subject_id: str
    session_id: str
    label: str
    path: str
    stamp: str
    rank: int = 0

    @property
    def visit(self) -> tuple[str, str]:
        """Whose it is, and when."""
        return self.subject_id, self.session_id


def attach_segmentations(scans: list[Scan], segmentations: list[Segmentation], walk: Walk) -> list[Scan]:
    """Put each visit's segmentations with its first scan; those of nobody are unused."""
    homes: dict[tuple[str, str], int] = {}
    order = sorted(range(len(scans)), key=lambda i: (MODALITIES.index(scans[i].modality), scans[i].run))
    for i in order:
        homes.setdefault((scans[i].subject_id, scans[i].session_id), i)
    scans = list(scans)
    for item in sorted(segmentations, key=lambda item: (item.rank, item.path.count("/"), item.path)):
        home = homes.get(item.visit)
        if home is None:
            walk.unused[item.path] = f"a segmentation ({item.label}) of a visit without a scan of ours"
            continue
        scan = scans[home]
        if item.label in scan.segmentations:
            taken = scan.segmentations[item.label]
            walk.unused[item.path] = f"a segmentation ({item.label}); {taken} is taken"
            continue
        labels = {**scan.segmentations, item.label: item.path}
        scans[home] = replace(scan, stamp=f"{scan.stamp} {item.stamp}", segmentations=labels)
    return scans


def _explain(scan: Scan, winner: Scan, cohort: Cohort, options: Mapping[str, Any]) -> str:
    taken = f"{winner.path} is taken"
    for preference in cohort.prefer:
        if preference.rank(scan.facts, options) != preference.rank(winner.facts, options):
            return f"{preference.reason}; {taken}"
    return f"comes later in path order; {taken}"


def _ask_tables(
    scans: list[Scan], cohort: Cohort, key: str, options: Mapping[str, Any], walk: Walk
) -> list[Scan]:
    """Leave out what the tables speak against, and join families."""
    reader = CohortTables(cohort, walk.tables, options)
    kept = []
    for scan in scans:
        visit = reader.open_visit(list_facts(scan))
        reason = cohort.keep(visit) if cohort.keep else ""
        if reason:
            walk.left_out.append((scan, reason))
            continue
        family = cohort.family(visit) if cohort.family else None
        kept.append(
            replace(scan, group_id=f"{key}/family-{family.value}") if family and family.value else scan
        )
    reader.check_codes(key)
    return kept


def list_facts(scan: Scan) -> dict[str, str]:
    """What a field's source may ask of a scan: its facts, and the ids under their short names."""
    ids = {"subject": scan.subject_id, "session": scan.session_id, "run": scan.run, "modality": scan.modality}
    return {**scan.facts, **ids}
