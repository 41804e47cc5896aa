"""Who is who across cohorts, and which split a group belongs to."""

from __future__ import annotations

import hashlib

import pandas as pd

from braing3n.config import ManifestSettings
from braing3n.contracts import SPLITS
from braing3n.errors import ConfigurationError


def join_people(volumes: pd.DataFrame) -> pd.DataFrame:
    """person_id and group_id settled: byte-equal raw files under two ids are one person's.

    volumes: columns person_id, group_id, raw_sha256. The first id in alphabetical order stays.
    """
    volumes = volumes.copy()
    for column in ("person_id", "group_id"):
        volumes[column] = _merge(volumes[column], volumes["raw_sha256"])
    # One person is never in two groups.
    volumes["group_id"] = _merge(volumes["group_id"], volumes["person_id"])
    return volumes


def describe_copies(volumes: pd.DataFrame) -> list[str]:
    """One sentence for every raw file that lies there under several people's ids."""
    known = volumes[volumes["raw_sha256"] != ""]
    n_people = known.groupby("raw_sha256")["person_id"].transform("nunique")
    return [
        f"{', '.join(sorted(copies['volume_id']))}: one raw file under several ids, taken as one person."
        for _, copies in known[n_people > 1].groupby("raw_sha256", sort=True)
    ]


def _merge(ids: pd.Series, evidence: pd.Series) -> pd.Series:
    """Ids that share a non-empty evidence become the smallest of them, transitively."""
    parent = {name: name for name in ids}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for names in ids[evidence != ""].groupby(evidence[evidence != ""]):
        roots = sorted({find(name) for name in names[1]})
        for root in roots[1:]:
            parent[root] = roots[0]
    return ids.map(find)


def assign_split(group_id: str, settings: ManifestSettings) -> str:
    """The split of a group: a function of its id, so that nobody moves when others come."""
    digest = hashlib.sha256(f"{settings.seed}/{group_id}".encode()).hexdigest()
    share = int(digest[:15], 16) / 16**15
    if share < settings.train:
        return "train"
    return "validation" if share < settings.train + settings.validation else "test"


def check_splits(volumes: pd.DataFrame) -> None:
    """Stop with one sentence where a split is empty.

    Raises:
        ConfigurationError: too few groups for the shares.
    """
    n_groups = volumes["group_id"].nunique()
    for split in SPLITS:
        if not (volumes["split"] == split).any():
            raise ConfigurationError(
                f"manifest: the split '{split}' is empty with {n_groups} groups of people; "
                "raise its share or try another manifest.seed."
            )
