"""People whom no inventory names any more: their visits that are still there, the weights that saw them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from braing3n.core.accounting import SEEN_NAME
from braing3n.core.bids import entities, volume_id
from braing3n.core.errors import CheckpointError
from braing3n.nets.weight_file import read_head

PERSON = re.compile(r"(.+)_(sub-[0-9A-Za-z]+)(?:_.*)?")


@dataclass(frozen=True)
class Named:
    """Whom and what the inventories of a run's cohorts name.

    Attributes:
        people: as `cohort/sub-X`.
        visits: as (cohort, `sub-X[_ses-Y]`).
        volumes: volume ids.
    """

    people: frozenset[str]
    visits: frozenset[tuple[str, str]]
    volumes: frozenset[str]


def read_named(results_dir: Path, cohorts: Collection[str]) -> Named:
    """What the inventories of these cohorts name; those of other cohorts do not count."""
    visits, volumes = set(), set()
    for cohort in cohorts:
        path = results_dir / "inventory" / cohort / "scans.tsv"
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                who = row["subject_id"], row["session_id"]
                visits.add((cohort, entities(*who)))
                volumes.add(volume_id(cohort, *who, row["run"], row["modality"]))
    people = {name_person(name) for name in volumes}
    return Named(frozenset(people), frozenset(visits), frozenset(volumes))


def name_person(volume: str) -> str:
    """The person of a volume id, as `cohort/sub-X`."""
    match = PERSON.fullmatch(volume)
    return f"{match[1]}/{match[2]}" if match else volume


def find_stray_visits(results_dir: Path, named: Named) -> list[Path]:
    """The folders of preprocessed visits that no inventory names, those of other cohorts included."""
    found = []
    visits = (results_dir.glob(f"preprocess/*/sub-*/{session}anat") for session in ("", "ses-*/"))
    for folder in (folder for folders in visits for folder in folders):
        cohort, *parts = folder.relative_to(results_dir / "preprocess").parts[:-1]
        if (cohort, "_".join(parts)) not in named.visits:
            found.append(folder)
    return sorted(found)


def report_strays(results_dir: Path, cohorts: Collection[str]) -> None:
    """Print how many preprocessed visits no inventory names: of withdrawn people, or of a removed cohort."""
    strays = find_stray_visits(results_dir, read_named(results_dir, cohorts))
    if strays:
        print(
            f"braing3n: {len(strays)} visits in {results_dir} are in no inventory any more, such as "
            f"{strays[0]}; `braing3n strays list --config FILE` lists what is left of them, and `strays "
            "remove` removes it.",
            file=sys.stderr,
        )


def find_weights(results_dir: Path, named: Named) -> dict[Path, list[str]]:
    """Weight file -> the people of its training's list, in any split, whom no inventory names.

    Weights in a training's own folder, and the published ones whose record has the same inputs.
    """
    runs = [path.parent for path in results_dir.rglob(f"checkpoints/*/{SEEN_NAME}")]
    lost: dict[str, list[str]] = {}
    found: dict[Path, list[str]] = {}
    for run_dir in sorted(runs):
        people = {name_person(name) for name in (run_dir / SEEN_NAME).read_text().split()}
        if withdrawn := sorted(people - named.people):
            lost[_read_origin(run_dir / "run.json")] = withdrawn
            found |= dict.fromkeys(sorted(run_dir.glob("*.safetensors")), withdrawn)
    for path in sorted(results_dir.rglob("*.safetensors")):
        if "checkpoints" not in path.relative_to(results_dir).parts:
            seen = lost.get(_read_weights_origin(path))
            found |= {path: seen} if seen else {}
    return found


def describe_weights(results_dir: Path, cohorts: Collection[str]) -> list[str]:
    """A sentence for each published weight file that saw withdrawn people; how many, never who."""
    return [
        f"{path.relative_to(results_dir).as_posix()} was trained on {len(people)} people whom no inventory "
        "names any more (withdrawn, or their cohort is not configured); train it again without them, and do "
        "not pass it on."
        for path, people in _find_known(results_dir, cohorts).items()
        if "checkpoints" not in path.relative_to(results_dir).parts
    ]


def count_withdrawn(results_dir: Path, cohorts: Collection[str], weights: Collection[Path]) -> int:
    """How many withdrawn people any of these weight files of a run saw."""
    found = _find_known(results_dir, cohorts)
    return len({person for path in weights for person in found.get(path, ())})


def _find_known(results_dir: Path, cohorts: Collection[str]) -> dict[Path, list[str]]:
    """As `find_weights`; nothing where the results were copied without their inventories."""
    if not all((results_dir / "inventory" / cohort / "scans.tsv").exists() for cohort in cohorts):
        return {}
    return find_weights(results_dir, read_named(results_dir, cohorts))


def _read_origin(path: Path) -> str:
    """Stage and inputs of a training, as text to compare."""
    try:
        record = json.loads(path.read_text())
        return json.dumps([record["stage"], record["stage_version"], record["inputs"]])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read_weights_origin(path: Path) -> str:
    try:
        record = read_head(path)
        return json.dumps([record["stage"], record["stage_version"], record["inputs"]])
    except (CheckpointError, KeyError):
        return "?"
