"""Accounting (kept + excluded = received), sidecars that say where a table came from, and shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from braing3n.core.errors import ContractError
from braing3n.core.runtime import digest_file, write_atomically

SEEN_NAME = "volumes.txt"  # in a training's folder: the volumes of its list, one a line


def assign_shard(cohort: str, subject_id: str, n_shards: int) -> int:
    """The shard of a subject: a function of its id alone, so that nobody moves when others come."""
    digest = hashlib.sha256(f"{cohort}/{subject_id}".encode()).hexdigest()
    return int(digest, 16) % n_shards


def check_accounting(
    received: Iterable[str], kept: Iterable[str], excluded: Iterable[str], where: str
) -> None:
    """Check that each received id is kept or excluded, once.

    Raises:
        ContractError: an id is lost, new or there twice.
    """
    received, kept, excluded = list(received), list(kept), list(excluded)
    out = kept + excluded
    repeated = sorted({name for name in out if out.count(name) > 1}) if len(out) != len(set(out)) else []
    lost, new = sorted(set(received) - set(out)), sorted(set(out) - set(received))
    for names, what in ((repeated, "there twice"), (lost, "lost"), (new, "never received")):
        if names:
            raise ContractError(f"{where}: {len(names)} volumes are {what}, the first is {names[0]!r}.")


def check_groups(group_ids: Iterable[str], splits: Iterable[str], where: str) -> None:
    """Check that no group (a person or a family) lies in two splits."""
    seen: dict[str, str] = {}
    for group_id, split in zip(group_ids, splits, strict=True):
        if seen.setdefault(group_id, split) != split:
            raise ContractError(
                f"{where}: group {group_id!r} lies in the splits {seen[group_id]} and {split}."
            )


def write_provenance(
    path: Path, stage: str, version: int, inputs: Iterable[Path], settings: str = ""
) -> None:
    """Write `<path>.json`: which inputs, configuration and stage version made the table beside it."""
    record = {
        "stage": stage,
        "stage_version": version,
        "settings": json.loads(settings) if settings else {},
        "inputs": {Path(item).as_posix(): digest_file(item) for item in inputs},
        "commit": _read_commit(),
    }
    with write_atomically(Path(f"{path}.json")) as beside:
        beside.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _read_commit() -> str:
    """The commit of the checkout this package runs from, or an empty text outside one.

    Read from git's files, since git need not be installed: of a worktree `.git` is a file that names its
    folder, and after `git gc` the commit of a branch stands in `packed-refs`.
    """
    return read_commit(Path(__file__).parents[2])


def read_commit(checkout: Path) -> str:
    """The commit that a checkout has open; empty where there is none."""
    git_dir = checkout / ".git"
    try:
        if git_dir.is_file():
            git_dir = checkout / git_dir.read_text().removeprefix("gitdir:").strip()
        common = git_dir / "commondir"
        shared_dir = git_dir / common.read_text().strip() if common.exists() else git_dir
        head = (git_dir / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        for folder in (git_dir, shared_dir):
            if (folder / name).exists():
                return (folder / name).read_text().strip()
        packed = (shared_dir / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except OSError:
        return ""
