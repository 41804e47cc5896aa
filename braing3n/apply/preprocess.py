"""Preprocess the scans that a user named on the command line as the DAG would, and write their numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.apply.gather import Facts, Gathered, gather_scans
from braing3n.apply.report import describe_scan, find_id, measure_crop
from braing3n.cohort import Scan
from braing3n.config import Config, load_config
from braing3n.core.errors import BrainG3nError, ResourceError, show_text
from braing3n.core.resources import REGISTRY, RESOURCES_DIR
from braing3n.core.runtime import make_folder, overlap, set_permissions, write_atomically
from braing3n.core.scratch import open_scratch
from braing3n.core.settings import validate
from braing3n.inventory.contracts import INVENTORY
from braing3n.preprocess.settings import PreprocessSettings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from braing3n.preprocess.shard import Job, VisitRows

TABLE_NAME = "preprocess.tsv"
PICTURE_NAME = "preprocess.png"
LOCK_NAME = "apply"


@dataclass(frozen=True)
class Request:
    """A request of a user; see `braing3n preprocess --help`."""

    paths: Sequence[Path]
    out_dir: Path
    by_modality: Mapping[str, Path] = field(default_factory=dict)
    labels: Sequence[Path] = ()
    facts: Facts = field(default_factory=Facts)
    changes: Mapping[str, object] = field(default_factory=dict)  # settings that the command line says
    config_path: Path | None = None
    resources_dir: Path | None = None
    n_workers: int = 1
    may_overwrite: bool = False
    check: Callable[[Sequence[Scan]], None] = lambda scans: None  # refuses, before the work, what was found
    wants_grids: bool = False  # of kept scans, see `answer`
    notes: list[str] | None = None  # takes what is guessed, substituted or left out; None: it is printed


def answer(request: Request) -> list[dict]:
    """Preprocess, print the result of each scan, and return a row a scan, kept or excluded.

    With `wants_grids` a kept scan's row has the scan's own `grid`: shape, and affine voxel -> RAS mm. The
    results are those of the DAG for the same scans, byte for byte; `out_dir` is one BIDS derivative.

    Raises:
        BrainG3nError: a mistake that the user can fix; nothing was written.
    """
    from braing3n.preprocess.mosaic import draw_mosaic
    from braing3n.preprocess.shard import preprocess_visits, require_packages

    settings, resources = _settle_settings(request)
    require_packages(settings)
    with open_scratch() as links_dir:
        found = gather_scans(request.paths, request.by_modality, request.labels, request.facts, links_dir)
        # The derivative's folder is named as a cohort's is, so that a run's code finds it.
        out_dir = request.out_dir if request.out_dir.name not in ("", "..") else request.out_dir.resolve()
        request.check(found.scans)
        check_apart(out_dir, [*request.paths, *request.by_modality.values()])
        visits = _list_visits(out_dir.name, found.scans)
        make_folder(out_dir)
        job = _prepare(out_dir.parent, settings, resources, request.resources_dir)
        job = replace(job, may_overwrite=request.may_overwrite)
        reused = _check_earlier(visits, job, request.may_overwrite)
        _announce(found, visits, reused, request.notes)
        table = preprocess_visits(visits, job, request.n_workers, LOCK_NAME, _report_step)
        table = measure_crop(table, settings.spacing_mm)
        rows = table.to_dict("records")
        used_scans = [_find_used(row, found.scans) for row in rows]
        for row, used in zip(rows, used_scans, strict=True):
            if row["n_refused"] and request.notes is not None:
                name = found.names.get(used.path, Path(used.path).name)
                request.notes.append(f"{name}: is taken, for another scan of this contrast cannot be used")
        if request.wants_grids:  # while the links to a study's series are there
            for row, used in zip(rows, used_scans, strict=True):
                row["grid"] = read_grid(used) if row["status"] == "kept" else None
    draw_mosaic(table, out_dir / PICTURE_NAME)
    _write_numbers(table, out_dir / TABLE_NAME)
    for row, used in zip(rows, used_scans, strict=True):
        name = found.names.get(used.path, Path(used.path).name)
        print(show_text(describe_scan(row, name, used.raw_space)), end="\n\n")
    numbers, picture = out_dir / TABLE_NAME, out_dir / PICTURE_NAME
    print(f"{count_kept(rows)} of {len(rows)} volumes kept; numbers in {numbers}, picture in {picture}.")
    return rows


def _find_used(row: Mapping, scans: Iterable[Scan]) -> Scan:
    """The scan of a row: the series that was not refused."""
    scan = next(scan for scan in scans if find_id(vars(scan)) == find_id(row))
    return [scan, *scan.spares][row["n_refused"]]


def read_grid(scan: Scan) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (3) of a raw scan, and its affine voxel -> RAS mm (4 x 4)."""
    from braing3n.preprocess.read.formats import load_image

    image = load_image(scan.path, scan.source_format, scan.axes, scan.modality)
    return image.shape[:3], image.affine


def count_kept(rows: Iterable[Mapping]) -> int:
    """How many scans became a volume."""
    return sum(row["status"] == "kept" for row in rows)


def _settle_settings(request: Request):
    """The configuration with the changes of the command line."""
    config = load_config(request.config_path) if request.config_path else Config()
    set_permissions(config.permissions)
    chosen = config.preprocess.model_dump(mode="json") | dict(request.changes)
    return validate(PreprocessSettings, chosen, "preprocess"), config.resources


def _list_visits(cohort: str, scans: Sequence[Scan]) -> list[VisitRows]:
    """Inventory rows, as the DAG's inventory step writes them."""
    import pandas as pd

    from braing3n.inventory.build import to_row
    from braing3n.preprocess.shard import group_visits

    rows = [to_row(cohort, scan) for scan in scans]
    return group_visits(pd.DataFrame(rows)[list(INVENTORY)], "these scans")


def check_apart(out_dir: Path, raw: Iterable[Path]) -> None:
    """Refuse an output folder among the raw scans, or raw scans inside it.

    Raises:
        BrainG3nError: names both folders.
    """
    for path in raw:
        if overlap(out_dir, path):
            raise BrainG3nError(
                f"{out_dir}: overlaps with the raw scans in {path}; give another folder as -o "
                "(a folder `derivatives` inside a dataset is taken)."
            )


def _prepare(store_dir: Path, settings: PreprocessSettings, resources, resources_dir: Path | None) -> Job:
    from braing3n.preprocess.brain.extract import list_backends
    from braing3n.preprocess.shard import prepare_job

    resources_dir = resources_dir or find_resources_dir()
    for name in ("sri24", *list_backends(settings)):
        item = REGISTRY.get(name)
        if item and name not in resources.paths and not (resources_dir / item.file_name).exists():
            print(f"fetching {name} ({item.size_mb:.0f} MB) into {resources_dir} ...", file=sys.stderr)
    try:
        return prepare_job(store_dir, settings, resources, resources_dir)
    except ResourceError as error:
        raise ResourceError(
            f"{str(error).rstrip('.')} (a YAML file for --config: `resources: {{paths: {{NAME: FILE}}}}`), "
            "or name a folder that has it as --resources."
        ) from None


def find_resources_dir() -> Path:
    """`resources/` of the working directory if it exists, as in the checkout; else the user's cache."""
    import pooch

    return RESOURCES_DIR if RESOURCES_DIR.is_dir() else Path(pooch.os_cache("braing3n"))


def _check_earlier(visits: list[VisitRows], job: Job, may_overwrite: bool) -> list[bool]:
    """Which visits are done; other results under the same name are an error."""
    from braing3n.core.bids import derivative_path, entities
    from braing3n.preprocess import store

    reused = []
    for visit in visits:
        who = (visit[0]["cohort"], visit[0]["subject_id"], visit[0]["session_id"])
        if store.find_long_name(job.store_dir, *who, max(row["run"] for row in visit)):
            raise BrainG3nError(
                f"'{who[1][:40]}...' as a subject makes file names that are too long; give --subject."
            )
        key = store.compute_key(visit, store.digest_raw(visit), job.settings, job.atlas_sha256, job.weights)
        reused.append(store.load_visit(job.store_dir, *who, key) is not None)
        sidecar_path = derivative_path(job.store_dir, *who, kind="sidecar")
        if may_overwrite or reused[-1]:
            continue
        foreign = store.find_foreign(job.store_dir, *who)
        if foreign is not None:
            raise BrainG3nError(
                f"{foreign}: exists, and braing3n did not write it; give another -o, or preprocess with "
                "--overwrite."
            )
        earlier = store.read_json(sidecar_path)
        if earlier.get("Files") and earlier.get("Key") not in ("", key):
            raise BrainG3nError(
                f"{job.store_dir / who[0]}: holds results of other scans or settings as "
                f"{entities(*who[1:])}; give another -o, --subject or --session, or preprocess with "
                "--overwrite."
            )
    return reused


def _announce(found: Gathered, visits: list[VisitRows], reused: list[bool], notes: list[str] | None) -> None:
    """Print before the work which scan is used as which contrast, and what is left out."""
    from braing3n.core.bids import entities

    left_out = [f"{name}: {why}" for name, why in found.left_out.items()]
    if notes is not None:
        notes += [*found.notes, *(f"left out: {text}" for text in left_out)]
    else:
        for text in (*(f"note: {note}" for note in found.notes), *(f"left out: {text}" for text in left_out)):
            print(show_text(text), file=sys.stderr)
    for visit, is_done in zip(visits, reused, strict=True):
        noted = ", ".join(f"{row['modality']} from {found.names[row['path']]}" for row in visit)
        done = " (done already; its results hold)" if is_done else ""
        who = entities(visit[0]["subject_id"], visit[0]["session_id"])
        print(show_text(f"{who}: {noted}{done}"), file=sys.stderr)


def _report_step(step: str) -> None:
    print(show_text(f"  {step}"), file=sys.stderr, flush=True)


def _write_numbers(table: pd.DataFrame, path: Path) -> None:
    """Put the rows into the folder's table; those of other visits stay."""
    import pandas as pd

    visit = ["subject_id", "session_id"]
    if path.exists():
        known = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        if set(visit) <= set(known):
            here = set(map(tuple, table[visit].to_numpy()))
            others = known[[tuple(who) not in here for who in known[visit].to_numpy()]]
            table = pd.concat([others, table]).sort_values("volume_id")
    with write_atomically(path) as beside:
        table.to_csv(beside, sep="\t", index=False)
