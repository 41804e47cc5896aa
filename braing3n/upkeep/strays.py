"""Files of a run that still show withdrawn people, to be reported and removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from braing3n.core.accounting import SEEN_NAME
from braing3n.core.scratch import is_abandoned
from braing3n.manifest.withdrawn import find_stray_visits, find_weights, read_named

CARD = re.compile(r"<article id='([^']+)'")  # of a quality page
# What is drawn and kept of volumes that a training saw; in `.*` lie arrays of a job that was killed.
DERIVED = (
    "tokenizer/**/reconstructions.png",
    "longitudinal/*.png",
    "longitudinal/forecasts.npz",
    "longitudinal/decoded.npz",
    "longitudinal/.*/*.npy",
    "control/counterfactuals.png",
    "control/changed.npz",
    "control/decoded.npz",
    "fidelity/decoded.npz",
    "memorization/nearest.png",
    "memorization/.*/*.npy",
    "paper/*.html",
)
OF_COHORT = ("inventory/*", "preprocess/*", "volumes/*", "ingest/*")
# What the program writes into a cohort's folders, beside the visits.
OWN_FILES = re.compile(
    r"(shard-\d{3}|[a-z][a-z0-9_]*(_exclusions)?)\.(tsv|parquet|parquet\.json|b2nd)|quality\.html|"
    r"participants\.tsv|dataset_description\.json|\.bidsignore|\.shard-\d{3}\.lock|"
    r"\.(walk|digests|headers)\.json"
)


@dataclass
class Strays:
    """Files that show people whom no inventory names.

    Attributes:
        files: those that braing3n wrote, to be removed.
        foreign: files of other programs in these folders, which stay.
        weights: weight file -> withdrawn people that it was trained on; it is reported and stays.
    """

    files: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    weights: dict[Path, list[str]] = field(default_factory=dict)


def find_strays(results_dir: Path, cohorts: Collection[str]) -> Strays:
    """All files of a run that show somebody whom the inventories of its cohorts do not name.

    They include files that also hold other people (a packed shard, latents, a picture), which the next run
    makes again without the withdrawn. They do not include tables, which the next run rewrites.
    """
    named, found = read_named(results_dir, cohorts), Strays()
    files: set[Path] = set()
    for folder in find_stray_visits(results_dir, named):
        own, foreign = _sort_visit(folder)
        files |= own
        found.foreign += foreign
    for pattern in OF_COHORT:
        for path in sorted(results_dir.glob(pattern)):
            is_of_cohort = path.is_dir() or path.parent.name == "ingest"  # and no lock
            if is_of_cohort and _name_cohort(path) not in cohorts:
                inside = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.is_file())
                files |= {item for item in inside if OWN_FILES.fullmatch(item.name)}
                found.foreign += [item for item in inside if not OWN_FILES.fullmatch(item.name)]
    files |= {path for path, shown in _list_shown(results_dir) if not shown <= named.volumes}
    files |= set(_list_abandoned(results_dir))
    found.files = sorted(path for path in files if path.is_file() or path.is_symlink())
    found.weights = find_weights(results_dir, named)
    return found


def remove_strays(strays: Strays, results_dir: Path) -> None:
    """Remove the files, and the folders that are empty without them."""
    for path in strays.files:
        path.unlink(missing_ok=True)
    for folder in sorted({path.parent for path in strays.files}, key=lambda item: -len(item.parts)):
        while folder != results_dir and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def describe_strays(strays: Strays) -> list[str]:
    """The report, one line for each file."""
    lines = [f"stray\t{path}" for path in strays.files]
    lines += [f"stays\t{path}\tbraing3n did not write it" for path in strays.foreign]
    for path, people in strays.weights.items():
        lines.append(f"weights\t{path}\ttrained on {', '.join(people)}")
    return lines


def _name_cohort(path: Path) -> str:
    return re.sub(r"(_exclusions)?\.parquet(\.json)?$", "", path.name)


def _sort_visit(folder: Path) -> tuple[set[Path], list[Path]]:
    """The files of a visit that are ours, and those that are not."""
    from braing3n.preprocess.store import list_own_files

    own = set(list_own_files(folder))
    return own, sorted(path for path in folder.iterdir() if path not in own)


def _list_shown(results_dir: Path) -> Iterator[tuple[Path, set[str]]]:
    """Files with the volumes that they hold or show, beside visits and tables."""
    for index in results_dir.glob("volumes/*/shard-*.parquet"):
        for path in (index, index.with_suffix(".b2nd")):
            yield path, _read_ids(index, "volume_id")
    for page in results_dir.glob("preprocess/*/quality.html"):
        yield page, set(CARD.findall(page.read_text(encoding="utf-8")))
    pairs = results_dir / "manifest" / "near_duplicates.parquet"
    if pairs.is_file():
        shown = _read_ids(pairs, "volume_id") | _read_ids(pairs, "other_volume_id")
        yield pairs.with_suffix(".png"), shown
    yield from _list_latents(results_dir)
    yield from _list_drawn(results_dir)


def _list_latents(results_dir: Path) -> Iterator[tuple[Path, set[str]]]:
    """Features with their ids; tokens and latents with those of the features beside or around them."""
    import numpy as np

    for top in ("latents", "sweep"):
        everybody: set[str] = set()
        for path in (results_dir / top).rglob("features*.npz"):
            with np.load(path) as file:
                shown = set(map(str, file["volume_id"]))
            everybody |= shown
            yield path, shown
        for path in (results_dir / top).rglob("*.npy"):  # and those that a killed job left half done
            yield path, everybody or {"unknown"}


def _list_drawn(results_dir: Path) -> Iterator[tuple[Path, set[str]]]:
    """Pictures and decoded volumes of whom a training saw, in its folder, beside its weights and later."""
    everybody: set[str] = set()
    for seen in results_dir.rglob(f"checkpoints/*/{SEEN_NAME}"):
        shown, run_dir = set(seen.read_text().split()), seen.parent
        everybody |= shown
        for path in (run_dir / "examples.png", *run_dir.glob("tensorboard/*")):
            yield path, shown
    for pattern in DERIVED:
        yield from ((path, everybody) for path in results_dir.glob(pattern))


def _list_abandoned(results_dir: Path) -> Iterator[Path]:
    """What killed processes left beside shards and tables, of anybody; in visits the next run removes it."""
    for folder in ("*", "preprocess/*", "volumes/*", "latents/**", "sweep/**"):
        yield from (path for path in results_dir.glob(f"{folder}/.*") if is_abandoned(path))


def _read_ids(path: Path, column: str) -> set[str]:
    import pandas as pd

    return set(pd.read_parquet(path, columns=[column])[column])
