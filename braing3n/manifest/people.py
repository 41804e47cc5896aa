"""Who is who across cohorts, and which split a group belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pandas as pd

from braing3n.core.contracts import SPLITS
from braing3n.core.errors import ConfigurationError
from braing3n.manifest.settings import ManifestSettings


def join_people(volumes: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """person_id and group_id settled; the first id in alphabetical order stays.

    Byte-equal raw files under two ids are one person's. Near-duplicates are one group's: whoever they are,
    they must not stand on both sides of a split.

    volumes: columns volume_id, person_id, group_id, raw_sha256. near_duplicates: the table of that name.
    """
    volumes = volumes.copy()
    copies = list(_chain(volumes["raw_sha256"]))
    for column in ("person_id", "group_id"):
        ids = volumes[column].tolist()
        volumes[column] = merge_ids(ids, [(ids[i], ids[j]) for i, j in copies])
    groups = dict(zip(volumes["volume_id"], volumes["group_id"], strict=True))
    links = [
        (groups[one], groups[other])
        for one, other in zip(near_duplicates["volume_id"], near_duplicates["other_volume_id"], strict=True)
    ]
    # One person is never in two groups.
    ids = volumes["group_id"].tolist()
    links += [(ids[i], ids[j]) for i, j in _chain(volumes["person_id"])]
    volumes["group_id"] = merge_ids(ids, links)
    return volumes


def describe_copies(volumes: pd.DataFrame) -> list[str]:
    """One sentence for every raw file that lies there under several people's ids."""
    known = volumes[volumes["raw_sha256"] != ""]
    n_people = known.groupby("raw_sha256")["person_id"].transform("nunique")
    return [
        f"{', '.join(sorted(copies['volume_id']))}: one raw file under several ids, taken as one person."
        for _, copies in known[n_people > 1].groupby("raw_sha256", sort=True)
    ]


def _chain(evidence: pd.Series) -> Iterator[tuple[int, int]]:
    """Positions of neighbours that share a non-empty evidence: links enough to join them all."""
    last: dict[str, int] = {}
    for position, text in enumerate(evidence):
        if text and text in last:
            yield last[text], position
        last[text] = position


def merge_ids(ids: list[str], links: list[tuple[str, str]]) -> list[str]:
    """Linked ids become the smallest of them, transitively."""
    parent = {name: name for name in ids}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in links:
        first, second = sorted((find(one), find(other)))
        parent[second] = first
    return [find(name) for name in ids]


def assign_split(group_id: str, settings: ManifestSettings) -> str:
    """The split of a group: a function of its id, so that nobody moves when others come."""
    return deal_split(group_id, str(settings.seed), settings.train, settings.validation)


def deal_split(group_id: str, salt: str, train: float, validation: float) -> str:
    """The split of a group, by the hash of salt and id; two shares of groups, the rest is test."""
    digest = hashlib.sha256(f"{salt}/{group_id}".encode()).hexdigest()
    share = int(digest[:15], 16) / 16**15
    if share < train:
        return "train"
    return "validation" if share < train + validation else "test"


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
