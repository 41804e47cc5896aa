"""A cohort's miniature: its own raw layout, formats and tables, with phantoms drawn from its own labels."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braing3n.atlas.templates import centred_affine
from braing3n.cohort import Cohort, Scan, Walk, settle_options
from braing3n.cohort.records import CohortTables
from braing3n.core.errors import ConfigurationError
from braing3n.core.resources import fetch
from braing3n.core.runtime import digest_file, digest_text, track
from braing3n.core.scratch import name_half_written, sweep_half_written
from braing3n.core.settings import ResourceSettings
from braing3n.inventory.scans import Candidate, describe, list_facts, name_segmentation, sort_files
from braing3n.phantoms import STAGE_VERSION
from braing3n.phantoms.formats import write_analyze, write_dicom, write_nifti, write_pair
from braing3n.phantoms.miniature import KEY_FILE, load_world, open_pool
from braing3n.phantoms.people import SITES, Person, Site, draw_tumour
from braing3n.phantoms.scanner import (
    MODALITIES,
    label_tumour,
    place_brain,
    place_head,
    scan_brain,
    scan_head,
)

DEFAULTS = {"spacing_mm": 3.0, "n_processes": 2}
AGE_RANGE_YEARS = (20, 80)  # where no table gives an age
TUMOURS = ("GBM", "Glioma")
SRI24_SHAPE = (240, 240, 155)  # voxels of 1 mm
NOT_READ = b"A file that no rule reads.\n"


@dataclass(frozen=True)
class Job:
    """One scan to be written."""

    scan: Scan
    files: tuple[Path, ...]
    note: str
    person: Person
    visit: int
    spacing_mm: float
    wheels: tuple[Path, Path]
    is_label: bool = False  # the tumour's outline on that scan, and not the scan


def read_paths(text: str) -> Iterator[tuple[str, str]]:
    """The paths of a file list, `{a,b}` expanded, each with its line's note."""
    for line in filter(None, map(str.strip, text.splitlines())):
        path, _, note = line.partition("  ")
        parts = re.split(r"\{([^{}]*)\}", path)
        expanded = [""]
        for number, part in enumerate(parts):
            choices = part.split(",") if number % 2 else [part]
            expanded = [start + choice for start in expanded for choice in choices]
        yield from ((item, note.strip()) for item in expanded)


def write_raw_tree(
    raw_dir: Path, key: str, cohort: Cohort, options: Mapping[str, Any], resources: ResourceSettings
) -> None:
    """Write a cohort's miniature once: the same declaration and options give the same bytes.

    Args:
        raw_dir: the folder; replaced where it was written from another declaration.
        options: any of `DEFAULTS`.

    Raises:
        ConfigurationError: an unknown option, or a folder there that is not ours.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ConfigurationError(f"miniature: unknown option {unknown[0]!r}; known: {', '.join(DEFAULTS)}.")
    settings = DEFAULTS | dict(options)
    wheels = fetch("brain-templates", resources), fetch("head-template", resources)
    assert cohort.miniature is not None  # the inventory asks only where there is one
    described = [asdict(cohort.miniature), settings["spacing_mm"], STAGE_VERSION, *map(digest_file, wheels)]
    digest = digest_text(json.dumps(described, sort_keys=True))
    key_path = raw_dir / KEY_FILE
    if key_path.exists() and key_path.read_text() == digest:
        return
    if raw_dir.exists() and any(raw_dir.iterdir()) and not key_path.exists():
        raise ConfigurationError(f"{raw_dir}: holds files that are not phantoms; move them away.")
    raw_dir.parent.mkdir(parents=True, exist_ok=True)
    sweep_half_written(raw_dir)
    beside = name_half_written(raw_dir)
    try:
        notes = write_placeholders(beside, cohort)
        jobs = _plan(beside, key, cohort, notes, float(settings["spacing_mm"]), wheels)
        with open_pool(int(settings["n_processes"]), wheels) as pool:
            for _ in track(pool.map(_write_scan, jobs), f"phantoms of {key}", total=len(jobs)):
                pass
        (beside / KEY_FILE).write_text(digest)
        if raw_dir.exists():
            shutil.rmtree(raw_dir)
        os.replace(beside, raw_dir)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_placeholders(root: Path, cohort: Cohort) -> dict[Path, str]:
    """The tables, and every path of the miniature as a file without an image; returns the paths' notes."""
    assert cohort.miniature is not None
    root.mkdir(parents=True, exist_ok=True)
    for name, text in cohort.miniature.tables.items():
        write_table_file(root / name, text)
    notes = {}
    for name, note in read_paths(cohort.miniature.files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(NOT_READ)
        notes[path] = note
    return notes


def write_table_file(path: Path, text: str) -> None:
    """A table as it is, or comma-separated text as a workbook with one sheet, `Table`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix not in (".xls", ".xlsx"):
        path.write_text(text)
        return
    rows = [[_to_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text))]
    if path.suffix == ".xls":
        import xlwt

        book = xlwt.Workbook()
        sheet = book.add_sheet("Table")
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                sheet.write(i, j, cell)
        book.save(path)
    else:
        import openpyxl

        book = openpyxl.Workbook()
        book.active.title = "Table"
        for row in rows:
            book.active.append(row)
        book.save(path)


def _to_cell(text: str) -> str | int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _plan(
    root: Path, key: str, cohort: Cohort, notes: dict[Path, str], spacing_mm: float, wheels
) -> list[Job]:
    """Who is seen on each scan: what the cohort's own ingest says of its path."""
    walk = Walk()
    options = settle_options(key, cohort, {})
    scans: list[tuple[Scan, Candidate, str]] = []
    delineated = []
    for candidate in sort_files(cohort, root, walk):
        if candidate.pattern.label:
            delineated.append(candidate)
            continue
        note = notes[Path(candidate.files[0][0])]
        scan, _ = describe(candidate, cohort, key, options, partial(_foresee_header, note, spacing_mm))
        scans.append((replace(scan, facts=dict(scan.facts)), candidate, note))  # jobs go to other processes
    reader = CohortTables(cohort, walk.tables, options)
    records = [reader.read(list_facts(scan)) for scan, _, _ in scans]
    people: dict[str, list[tuple[Scan, dict]]] = defaultdict(list)
    for (scan, _, _), record in zip(scans, records, strict=True):
        people[scan.person_id].append((scan, record))
    jobs = []
    for scan, candidate, note in scans:
        person, visit = _draw_person(people[scan.person_id], scan)
        files = tuple(Path(path) for path, _ in candidate.files)
        jobs.append(Job(scan, files, note, person, visit, _read_spacing(note, spacing_mm), wheels))
    return jobs + _plan_labels(delineated, jobs, cohort)


def _plan_labels(delineated: list[Candidate], jobs: list[Job], cohort: Cohort) -> list[Job]:
    """A segmentation lies on the grid of the first scan of its visit."""
    planned = []
    for candidate in delineated:
        item = name_segmentation(candidate, cohort)
        visit = [job for job in jobs if (job.scan.subject_id, job.scan.session_id) == item.visit]
        path = Path(item.path)
        planned += [replace(job, files=(path,), is_label=True) for job in visit[:1]]
    return planned


def _read_spacing(note: str, spacing_mm: float) -> float:
    match = re.search(r"(\d+(?:\.\d+)?) mm", note)
    return float(match[1]) if match else spacing_mm


def _foresee_header(note: str, spacing_mm: float, *series: object) -> dict[str, str]:
    """What the header of a series will say, for a cohort that chooses by it."""
    spacing = f"{_read_spacing(note, spacing_mm):g}"
    return {"spacing_mm": spacing, "rows": "64", "columns": "64", "n_slices": "64"}


def _draw_person(visits: list[tuple[Scan, dict]], scan: Scan) -> tuple[Person, int]:
    """A phantom of the labels' age, sex and diagnosis; where they are silent, drawn from the person's id."""
    seed = zlib.crc32(scan.person_id.encode())
    rng = np.random.default_rng(seed)
    drawn_age, drawn_sex = float(rng.uniform(*AGE_RANGE_YEARS)), rng.choice(["F", "M"])
    ages = {item.session_id: record["age_years"] for item, record in visits}
    sessions = sorted(ages)
    known = [ages[name] for name in sessions if not math.isnan(ages[name])]
    first = min(known, default=drawn_age)
    years = tuple(0.0 if math.isnan(ages[name]) else ages[name] - first for name in sessions)
    record = next(record for item, record in visits if item.path == scan.path)
    place = record["site"] or scan.person_id.split("/")[0]
    drawn = SITES[zlib.crc32(place.encode()) % (len(SITES) - 1)]  # the last is the decoy's
    site = Site(place, record["vendor"] or drawn[0], *drawn[1:])
    sex = next((item["sex"] for _, item in visits if item["sex"]), str(drawn_sex))
    size = float(np.clip(1 + 0.045 * rng.standard_normal(), 0.91, 1.09))
    has_tumour = record["dx"] in TUMOURS
    tumour = draw_tumour(record.get("idh1") == "mutant", rng) if has_tumour else None
    name = scan.subject_id
    person = Person(0, seed, name, first, sex, record["dx"], site, size, "R", "", tumour, MODALITIES, years)
    return person, sessions.index(scan.session_id)


def _draw(job: Job, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """The phantom in the scan's raw state, (X, Y, Z) in RAS, and its affine."""
    scan, world = job.scan, load_world(*job.wheels)
    who = world, job.person, job.visit
    if scan.raw_space == "sri24":
        shape = tuple(int(n) for n in np.ceil(np.array(SRI24_SHAPE) / job.spacing_mm))
        if job.is_label:
            rng = job.person.rng(2, job.visit, MODALITIES.index(modality))
            brain = label_tumour(place_brain(*who, shape, job.spacing_mm, rng))
        else:
            brain, _ = scan_brain(*who, modality, shape, job.spacing_mm)
        turn = np.diag([-1.0, -1.0, 1.0, 1.0])
        turn[:2, 3] = np.array(shape[:2]) - 1
        return brain[::-1, ::-1], centred_affine(shape, job.spacing_mm) @ turn
    if job.is_label:
        tissue, affine = place_head(*who, modality, job.spacing_mm)
        return label_tumour(tissue), affine
    has_bias = not scan.is_bias_corrected
    image, affine, brain = scan_head(*who, modality, job.spacing_mm, has_bias)
    return image * brain if scan.is_stripped else image, affine


def _write_scan(job: Job) -> None:
    scan, site = job.scan, job.person.site
    modality = scan.modality if scan.modality in MODALITIES else "T1"
    image, affine = _draw(job, modality)
    noted = re.search(r"axes ([LRAPIS]{3})", job.note)
    axes = noted[1] if noted else scan.axes or ("LPS" if scan.raw_space == "sri24" else site.orientation)
    first = job.files[0]
    if scan.source_format == "DICOM":
        plane = next((name for name in ("axial", "coronal") if name in job.note), "sagittal")
        n_echoes, is_one_file = 2 if "dual echo" in job.note else 1, "one file" in job.note
        first.unlink()
        write_dicom(
            first.parent,
            first.name
            if is_one_file
            else f"{first.stem.replace('{', '').replace('}', '')}-{{:03d}}{first.suffix}",
            image,
            affine,
            plane=plane,
            is_one_file=is_one_file,
            n_echoes=n_echoes,
            description=scan.facts.get("series", "") or modality,
            date=scan.facts.get("date", "") or "2011-03-14",
            vendor=site.vendor,
            field_strength_t=site.field_strength_t,
            age_years=job.person.age_years + job.person.visit_years[job.visit],
            sex=job.person.sex,
        )
    elif scan.source_format == "Analyze":
        write_analyze(first.with_suffix(".hdr"), image, affine, axes)
    elif scan.source_format == "NIfTI pair":
        write_pair(first.with_suffix(".hdr"), image, affine, axes)
    else:
        write_nifti(first, image, affine, axes)
