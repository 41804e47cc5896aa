"""Who the phantoms are: ages, sexes, diseases, sites and visits, with nothing planted confounded."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.core.errors import ConfigurationError
from braing3n.phantoms.effects import MARKER_MM, Tumour

# Shares of the diagnoses. SCZ is the decoy: nothing in the head, but nearly all scanned at one site.
DIAGNOSES = {"HC": 0.54, "AD": 0.19, "SCZ": 0.14, "GBM": 0.13}
DECOY = "SCZ"
AGE_RANGE_YEARS = {"HC": (20, 90), "AD": (40, 90), "SCZ": (20, 90), "GBM": (20, 90)}
AGE_SKEW = 0.75  # below 1 there are more old people, so that AD is not merely age
HEAD_SIZE_SD = 0.045
LEFT_HANDED_SHARE = 0.12


@dataclass(frozen=True)
class Site:
    """A scanner: what it does to images (blur, noise, contrast curve) and how it stores them.

    `blur_mm` is a Gaussian's sigma, `noise` is in units of T1 white matter, `gamma` an exponent.
    """

    name: str
    vendor: str
    field_strength_t: float
    blur_mm: float
    noise: float
    gamma: float
    orientation: str


@dataclass(frozen=True)
class Person:
    """One phantom. `head_size` is a linear scale around 1; `visit_years` are times since baseline."""

    index: int
    seed: int
    subject_id: str
    age_years: float
    sex: str
    dx: str
    site: Site
    head_size: float
    handedness: str
    idh1: str
    tumour: Tumour | None
    modalities: tuple[str, ...]
    visit_years: tuple[float, ...]

    def rng(self, *stream: int) -> np.random.Generator:
        """Randomness of this person alone; each stream is independent of the others."""
        return np.random.default_rng([self.seed, self.index, *stream])


# Vendor, field strength, blur, noise, contrast curve, storage. The last is the decoy's, plainly apart.
SITES = (
    ("Siemens", 3.0, 0.0, 0.018, 1.0, "RAS"),
    ("GE", 1.5, 0.45, 0.026, 1.10, "LPS"),
    ("Philips", 3.0, 0.25, 0.020, 0.92, "LAS"),
    ("Siemens", 1.5, 2.0, 0.030, 0.6, "PSR"),
)


def make_sites(prefix: str, n_sites: int) -> list[Site]:
    """The cohort's scanners; the last is the decoy's."""
    if not 1 <= n_sites <= len(SITES):
        raise ConfigurationError(f"miniature: n_sites is {n_sites}; give 1 to {len(SITES)}.")
    rows = SITES[len(SITES) - n_sites :]
    return [Site(f"{prefix}{'ABCD'[i]}", *row) for i, row in enumerate(rows)]


def apportion(n: int, shares: list[float]) -> list[int]:
    """Whole numbers that sum to n and come closest to the shares (largest remainders)."""
    exact = n * np.asarray(shares) / np.sum(shares)
    counts = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - counts), kind="stable")[: n - counts.sum()]
    counts[rest] += 1
    return counts.tolist()


def draw_people(
    n_people: int,
    seed: int,
    prefix: str = "P",
    n_sites: int = 4,
    follow_up_share: float = 0.12,
    extra_modality_share: float = 0.06,
    n_tumours: int = 0,
) -> list[Person]:
    """A cohort with diseases crossed with sites, sexes balanced within a disease, and the rest independent.

    Args:
        n_people: how many.
        seed: the cohort's.
        prefix: starts subject and site names; cohorts with different prefixes are different people.
        n_sites: scanners, 1 to 4.
        follow_up_share: share of people with a second visit.
        extra_modality_share: share of people (controls) with a T2, and as many with a FLAIR, beside the T1.
        n_tumours: further people, with a tumour and nothing but a T1c. The others stay who they are.
    """
    seed = zlib.crc32(f"{prefix}/{seed}".encode())
    rng = np.random.default_rng([seed, n_people])
    sites = make_sites(prefix, n_sites)
    frame = _draw_traits(_draw_cells(n_people, sites, rng, DIAGNOSES), rng)
    frame["visits"] = _draw_visits(frame, round(follow_up_share * n_people), rng)
    frame["modalities"] = _draw_modalities(frame, round(extra_modality_share * n_people), rng)
    frame = frame.iloc[rng.permutation(n_people)]
    if n_tumours:
        rng = np.random.default_rng([seed, n_people, n_tumours])
        further = _draw_traits(_draw_cells(n_tumours, sites, rng, {"GBM": 1.0}), rng)
        alone = [[(0.0,)] * n_tumours, [("T1c",)] * n_tumours]
        frame = pd.concat([frame, further.assign(visits=alone[0], modalities=alone[1])])
    frame = frame.reset_index(drop=True)
    n_digits = max(3, len(str(n_people)))
    return [_make_person(i, row, seed, f"{prefix}{i + 1:0{n_digits}d}", sites) for i, row in frame.iterrows()]


def tabulate(people: list[Person]) -> pd.DataFrame:
    """`participants.tsv`: one row a person, `n/a` where nothing is known."""
    decoy = {"HC": "control", DECOY: "case"}
    rows = [
        {
            "participant_id": f"sub-{person.subject_id}",
            "age": person.age_years,
            "sex": person.sex,
            "group": person.dx,
            "site": person.site.name,
            "handedness": person.handedness,
            "idh1": person.idh1 or "n/a",
            "control_decoy": decoy.get(person.dx, "n/a"),
            "control_head_size": person.head_size,
        }
        for person in people
    ]
    return pd.DataFrame(rows)


def _draw_cells(n_people: int, sites: list[Site], rng, shares: dict[str, float]) -> pd.DataFrame:
    """Disease by site, and sexes. A quarter of the controls share the decoy's site, enough to match there."""
    n_others = max(len(sites) - 1, 1)
    crossed = [1 / len(sites)] * len(sites)
    at_decoy_site = [0.06 / n_others] * (len(sites) - 1) + [0.94]
    rows = []
    for dx, n in zip(shares, apportion(n_people, list(shares.values())), strict=True):
        for site, count in enumerate(apportion(n, at_decoy_site if dx == DECOY else crossed)):
            rows += [(dx, site)] * count
    frame = pd.DataFrame(rows, columns=["dx", "site"])
    # Shuffled, and balanced within a disease only: a finer balance makes held-out people the opposite of
    # the training people, and chance then scores below 0.5.
    turn = (frame.groupby("dx").cumcount() + rng.integers(2)) % 2 == 0
    frame["sex"] = np.where(turn.groupby(frame.dx).transform(rng.permutation), "F", "M")
    frame["is_idh1_mutant"] = (frame.groupby("dx").cumcount() // 2 + rng.integers(2)) % 2 == 0
    return frame


def _draw_traits(frame: pd.DataFrame, rng) -> pd.DataFrame:
    """The people of some cells with their ages, head sizes and hands."""
    frame["age"] = _stratified(frame, ["dx"], rng)
    low, high = (frame.dx.map(lambda dx, i=i: AGE_RANGE_YEARS[dx][i]) for i in (0, 1))
    frame["age"] = (low + (high - low) * frame.age**AGE_SKEW).round(1)
    frame["head_size"] = (1 + HEAD_SIZE_SD * _normal_quantile(pd.Series(rng.random(len(frame))))).round(4)
    frame["handedness"] = np.where(rng.random(len(frame)) < LEFT_HANDED_SHARE, "L", "R")
    return frame


def _stratified(frame: pd.DataFrame, keys: list[str], rng) -> pd.Series:
    """Uniform numbers in (0, 1), evenly spread within each group."""
    values = pd.Series(0.0, index=frame.index)
    for _, rows in frame.groupby(keys, sort=True):
        n = len(rows)
        values[rows.index] = (rng.permutation(n) + rng.random(n)) / n
    return values


def _normal_quantile(probability: pd.Series) -> np.ndarray:
    from scipy.special import ndtri

    return np.clip(ndtri(probability), -2, 2)


def _draw_visits(frame: pd.DataFrame, n: int, rng) -> list[tuple[float, ...]]:
    """Second visits two to five years on, for controls and AD alike."""
    eligible = frame.index[frame.dx.isin(["HC", "AD"]) & (frame.age < 88)]
    chosen = set(rng.permutation(eligible)[:n].tolist())
    return [(0.0, round(float(rng.uniform(2, 5)), 2)) if i in chosen else (0.0,) for i in frame.index]


def _draw_modalities(frame: pd.DataFrame, n: int, rng) -> list[tuple[str, ...]]:
    """All four for tumours; T2 for n controls, FLAIR for n others; T1 for everyone."""
    controls = rng.permutation(frame.index[frame.dx == "HC"])
    n = min(n, len(controls) // 2)
    extra = dict.fromkeys(controls[:n], ("T2",)) | dict.fromkeys(controls[n : 2 * n], ("FLAIR",))
    extra |= dict.fromkeys(frame.index[frame.dx == "GBM"], ("T1c", "T2", "FLAIR"))
    return [("T1", *extra.get(i, ())) for i in frame.index]


def _make_person(index: int, row: pd.Series, seed: int, subject_id: str, sites: list[Site]) -> Person:
    has_tumour = row.dx == "GBM"
    tumour = (
        draw_tumour(bool(row.is_idh1_mutant), np.random.default_rng([seed, index, 9])) if has_tumour else None
    )
    return Person(
        index,
        seed,
        subject_id,
        float(row.age),
        row.sex,
        row.dx,
        sites[row.site],
        float(row.head_size),
        row.handedness,
        ("mutant" if row.is_idh1_mutant else "wildtype") if has_tumour else "",
        tumour,
        row.modalities,
        row.visits,
    )


def draw_tumour(is_mutant: bool, rng) -> Tumour:
    """Somewhere in the white matter of either side, clear of the left marker and its mirror image.

    Core volumes are 14 to 39 ml.
    """
    places = np.array([[28, 34, 14], [40, -4, -14], [30, -66, 8], [26, 8, 40]], dtype=float)
    while True:
        centre = places[rng.integers(len(places))] * [rng.choice([-1, 1]), 1, 1] + rng.normal(0, 4, 3)
        if np.linalg.norm(np.abs(centre) - np.abs(MARKER_MM)) > 32:
            break
    direction = np.array([0.15, 1.0, 0.3]) + rng.normal(0, 0.25, 3)
    direction /= np.linalg.norm(direction)
    return Tumour(tuple(centre), float(rng.uniform(15, 21)), is_mutant, tuple(direction))
