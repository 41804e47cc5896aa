"""Raw trees of tiny valid files, and the inventory and ingest of them as the pipeline runs them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.cohort import Miniature, load_cohort, settle_options
from braing3n.config import CohortSettings
from braing3n.core.contracts import read_table
from braing3n.ingest.cohort import read_tsv
from braing3n.ingest.command import cohort as ingest_cohort
from braing3n.ingest.contracts import LEFT_OUT, RECORDS
from braing3n.inventory.build import walk_cohort, write_inventory

from .fixtures import RawFile, read_paths


def list_miniature(miniature: Miniature) -> list[RawFile]:
    """The paths of a miniature; a DICOM series has slices enough to pass for a volume."""
    files = read_paths(miniature.files)
    return [replace(file, n_more=file.n_more or 63) if ".dcm" in file.path else file for file in files]


def write_tree(raw_dir: Path, files: list[RawFile], tables: Mapping[str, str]) -> None:
    """A raw tree of tiny valid files: 8 voxels an edge, a DICOM slice 64, and tables at the top."""
    for file in files:
        path = raw_dir / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".dcm":
            _write_series(path, file)
        elif path.name.endswith((".nii", ".nii.gz", ".hdr")):
            _write_image(path, seed=zlib.crc32(file.path.encode()))
        elif not path.exists():
            path.write_bytes(b"")
    for name, text in tables.items():
        write_table(raw_dir / name, text)


def copy_tree(raw_dir: Path, copy_dir: Path, tables: Mapping[str, str]) -> None:
    """The same tree with other tables at its top; its images are links."""
    shutil.copytree(raw_dir, copy_dir, copy_function=os.link)
    for name, text in tables.items():
        (copy_dir / name).unlink(missing_ok=True)
        write_table(copy_dir / name, text)


def _write_image(path: Path, seed: int) -> None:
    """NIfTI, or an Analyze pair where `path` is a header; every file has voxels of its own."""
    import nibabel as nib

    voxels = np.random.default_rng(seed).integers(0, 500, (8, 8, 8)).astype(np.int16)
    if path.suffix == ".hdr":
        nib.save(nib.AnalyzeImage(voxels, None), path.with_suffix(".img"))
    else:
        nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), path)


def _write_series(path: Path, file: RawFile) -> None:
    """A DICOM series whose spacing and echoes are those of the note."""
    from braing3n.phantoms.formats import write_dicom

    spacing_mm = re.search(r"([\d.]+) mm", file.note)
    date = re.search(r"(\d{4}-\d\d-\d\d)_", file.path)
    n_echoes, is_one_file = 2 if "dual echo" in file.note else 1, "one file" in file.note
    n_slices = file.n_more + 1
    write_dicom(
        path.parent,
        path.name if is_one_file else [_number(path, number) for number in range(n_slices * n_echoes)],
        np.zeros((64, 64, n_slices), np.int16),
        np.diag([1.0, 1.0, float(spacing_mm.group(1)) if spacing_mm else 1.0, 1.0]),
        "axial",
        is_one_file=is_one_file,
        n_echoes=n_echoes,
        date=date.group(1).replace("9999", "2013") if date else "2013-01-01",
        description=path.parents[2].name.replace("_", " "),
    )


def _number(path: Path, number: int) -> str:
    """The name of another slice: its number stands behind the time of the upload, or at the end."""
    name, n_found = re.subn(r"(_raw_\d+_)\d+", rf"\g<1>{number + 1}", path.name)
    return name if n_found else f"{path.stem}-{number + 1:03d}{path.suffix}"


@dataclass
class Outcome:
    """What a run of inventory and ingest wrote and said; the folders hold the files themselves."""

    inventory_dir: Path
    records_path: Path
    records: pd.DataFrame
    left_out: pd.DataFrame
    unused: dict[str, str]
    printed: str

    @property
    def segmentations(self) -> dict[str, str]:
        """The files that go to SRI24 with a scan of theirs: path -> what they delineate."""
        cells = read_tsv(self.inventory_dir / "shard-000.tsv")["segmentations"]
        return {path: name for cell in cells if cell for name, path in json.loads(cell).items()}

    def read_bytes(self) -> dict[str, bytes]:
        """The files that other stages read."""
        names = ("scans.tsv", "tables.tsv", "shard-000.tsv")
        return {name: (self.inventory_dir / name).read_bytes() for name in names} | {
            "records": self.records_path.read_bytes()
        }


def run_ingest(kind: str, raw_dir: Path, work_dir: Path, options: Mapping | None = None) -> Outcome:
    """Inventory and ingest of one raw folder, as the pipeline runs them."""
    work_dir.mkdir(parents=True, exist_ok=True)
    settings = CohortSettings(raw_dir=str(raw_dir), options=dict(options or {}))
    folder, cohort = work_dir / "inventory", load_cohort(kind)
    records, exclusions = work_dir / "records.parquet", work_dir / "exclusions.parquet"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        walk = walk_cohort(kind, cohort, raw_dir, settle_options(kind, cohort, settings.options), folder)
        write_inventory(kind, settings, walk, folder)
        ingest_cohort(
            key=kind,
            scans=folder / "scans.tsv",
            left_out=folder / "left_out.tsv",
            tables=folder / "tables.tsv",
            records=records,
            exclusions=exclusions,
            run="test",
            settings=settings.model_dump_json(),
        )
    unused = read_tsv(folder / "unused.tsv")
    return Outcome(
        inventory_dir=folder,
        records_path=records,
        records=read_table(records, RECORDS),
        left_out=read_table(exclusions, LEFT_OUT),
        unused=dict(zip(unused["path"], unused["reason"], strict=True)),
        printed=said.getvalue(),
    )


def write_table(path: Path, text: str) -> None:
    """Text as it is; under `.xls` and `.xlsx` a workbook of the sheet `Table` with numbers as numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix not in (".xls", ".xlsx"):
        path.write_text(text, encoding="utf-8")
        return
    if path.suffix == ".xls":
        import xlwt

        book = xlwt.Workbook()
        book.add_sheet("ID")
        sheet = book.add_sheet("Table")
        write_cell = sheet.write
    else:
        import openpyxl

        book = openpyxl.Workbook()
        sheet = book.active
        sheet.title = "Table"

        def write_cell(row, column, value):
            sheet.cell(row + 1, column + 1, value)

    for number, cells in enumerate(csv.reader(io.StringIO(text))):
        for column, cell in enumerate(cells):
            if cell:
                write_cell(number, column, float(cell) if re.fullmatch(r"-?\d+(\.\d+)?", cell) else cell)
    book.save(path)
