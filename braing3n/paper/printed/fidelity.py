"""How far generated volumes lie from real ones: Table 8, our own encoder's distances, and variety."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from braing3n.fidelity.arms import CORPUS, FID, MEDICALNET, RADIMAGENET, REFERENCES, SIMILARITY
from braing3n.fidelity.floors import FEW_PEOPLE
from braing3n.fidelity.measure import MORE, QUANTITY
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.paper.published import read_published
from braing3n.paper.results import Results, explain_missing, locate

_COMPARISONS = ("gen-vs-real", "gen-vs-recons", "recons-vs-real")
_FLOOR_NOTE = (
    "Small numbers bias a distance upwards, so its floor has the same numbers: as many real people as there "
    "are samples, drawn at random, against the arm's other people (n people/others; one volume a person, no "
    "relatives). Distances and floors are means over draws; brackets hold 95 % of the floor's draws. Above "
    "the floor: gen-vs-real exceeds the bracket."
)
_SPLIT_NOTE = (
    "Corpus: everybody, as in the paper; training: the people that the models are trained on; held-out: the "
    "others. Counts differ between these, so each distance is compared with its own floor only: samples "
    "above the floor of held-out people and within that of training people repeat what the models have seen. "
    "KID stands beside the 95th percentile of real people in the samples' place; few people do not bias it."
)


def build_table_8(results: Results) -> PrintedTable:
    """The 3D-FID by arm: three distances, each beside the paper's, and the floor of the first."""
    notes = [
        "Ours is the Fréchet distance on Inception-V3 features of 10 central slices in each of 3 views, "
        f"through one mask and one window for all sets. Fewer than {FEW_PEOPLE} samples or people are marked "
        "as few.",
        _FLOOR_NOTE,
    ]
    title = "Table 8. Generation fidelity by arm"
    return _build_distances(results, FID, "table_8", title, notes, read_published()["table_8"])


def build_table_8_by_split(results: Results) -> PrintedTable:
    """Table 8 against real people of the corpus, of training, and held out."""
    title, arms = (
        "Table 8 by split. The 3D-FID by arm and real people",
        dict.fromkeys(read_published()["table_8"]),
    )
    return _build_distances(
        results, FID, "table_8_by_split", title, [_SPLIT_NOTE, _FLOOR_NOTE], arms, REFERENCES
    )


def build_table_2b(results: Results) -> PrintedTable:
    """The 3D-FID by condition: the mean of a condition's arms in Table 8, as in the paper."""
    distances, title = results.read("distances"), "Table 2b. Generation fidelity by condition"
    found = _index(distances, FID)
    rows = []
    for condition, published in read_published()["table_2b"].items():
        row = {"Condition": condition}
        arms = list_arms(condition)
        for comparison, paper in zip(("gen-vs-recons", "gen-vs-real"), published, strict=True):
            values: list = [_read_distance(found, arm, comparison, lambda r: r["value"]) for arm in arms]
            missing = [value for value in values if isinstance(value, str)]
            row[f"{comparison}{LEVELS}ours"] = missing[0] if missing else _round(float(np.mean(values)))
            row[f"{comparison}{LEVELS}paper"] = paper
        rows.append(row | {"Arms": str(len(arms))})
    notes = ["Conditions are means of their arms in Table 8; Pooled is one distance of all samples."]
    return PrintedTable("table_2b", title, pd.DataFrame(rows), locate("distances"), notes)


def list_arms(condition: str) -> list[str]:
    """Titles of the arms of Table 8 that a row of Table 2b is the mean of."""
    return [arm for arm in read_published()["table_8"] if arm.startswith(f"{condition} ")]


def build_fidelity(results: Results) -> PrintedTable:
    """The same distances on our own encoder's features, which the paper has not."""
    notes = [
        "The Fréchet distance on MAE features: mean-pooled features of this run's own encoder on whole "
        "volumes. It is another quantity than the paper's 3D-FID: compare it with its floor only.",
        _FLOOR_NOTE,
    ]
    arms, title = dict.fromkeys(read_published()["table_8"]), "Distances on MAE features by arm"
    return _build_distances(results, QUANTITY, "fidelity", title, notes, arms)


def build_fidelity_by_split(results: Results) -> PrintedTable:
    """The distances on MAE features against real people of the corpus, of training, and held out."""
    title, arms = (
        "Distances on MAE features by arm and real people",
        dict.fromkeys(read_published()["table_8"]),
    )
    notes = [_SPLIT_NOTE, _FLOOR_NOTE]
    return _build_distances(results, QUANTITY, "fidelity_by_split", title, notes, arms, REFERENCES)


def build_fidelity_on_others(results: Results) -> PrintedTable:
    """The Fréchet distance on features of networks for medical images, whose weights the user brings."""
    distances = results.read("distances")
    rows = []
    for arm in read_published()["table_8"]:
        row = {"Arm": arm}
        for head, quantity in (("RadImageNet", RADIMAGENET), ("MedicalNet", MEDICALNET)):
            found = _index(distances, quantity)
            for comparison in _COMPARISONS:
                show = partial(_read_distance, found, arm, comparison)
                row[f"{head}{LEVELS}{comparison}"] = show(lambda r: _round(r["value"]))
            show = partial(_read_distance, found, arm, "gen-vs-real")
            row[f"{head}{LEVELS}floor"] = show(_describe_floor)
            row[f"{head}{LEVELS}above the floor"] = show(_judge_floor)
        rows.append(row)
    notes = [
        "RadImageNet: ResNet-50 on the slices of the 3D-FID; MedicalNet: ResNet-50 on whole volumes. Other "
        "quantities than the paper's 3D-FID: compare each with its own floor only.",
        _FLOOR_NOTE,
    ]
    title = "Distances on features of others by arm"
    return PrintedTable("fidelity_on_others", title, pd.DataFrame(rows), locate("distances"), notes)


def _build_distances(
    results: Results,
    quantity: str,
    name: str,
    title: str,
    notes: list[str],
    arms: dict,
    references: Sequence[str] = (CORPUS,),
) -> PrintedTable:
    """A row an arm and reference; arms: title -> the paper's three numbers, or None where there are none."""
    distances, rows = results.read("distances"), []
    kid = f"KID{quantity[quantity.index(' on ') :]}"
    for (arm, published), reference in itertools.product(arms.items(), references):
        row, found = {"Arm": arm}, _index(distances, quantity, reference)
        if len(references) > 1:
            row["Real people of"] = reference
        show = partial(_read_distance, found, arm)
        for k, comparison in enumerate(_COMPARISONS):
            head = "ours (3D-FID)" if quantity == FID else "MAE features"
            row[f"{comparison}{LEVELS}{head}"] = show(comparison, lambda r: _round(r["value"]))
            if published:
                row[f"{comparison}{LEVELS}paper (3D-FID)"] = published[k]
        row["gen-vs-recons below recons-vs-real"] = _compare_parts(found, arm)
        show = partial(show, "gen-vs-real")
        row["Floor, real-vs-real"] = show(_describe_floor)
        row["Above the floor"] = show(_judge_floor)
        if len(references) > 1:
            row |= _show_beside(_index(distances, kid, reference), arm, "gen-vs-real", "KID")
        row["Samples"] = show(_count_samples)
        row["Real people / volumes"] = show(_count_people)
        rows.append(row)
    return PrintedTable(name, title, pd.DataFrame(rows), locate("distances"), notes)


def build_variety(results: Results) -> PrintedTable:
    """Kernel distances, precision, recall, density, coverage and MS-SSIM by arm, each beside its floor."""
    distances = results.read("distances")
    quantities = {name.removesuffix(" on MAE features"): name for name in MORE.quantities}
    quantities |= {SIMILARITY: SIMILARITY}
    rows = []
    for arm in read_published()["table_8"]:
        row = {"Arm": arm}
        for short, quantity in quantities.items():
            comparison = "gen-vs-recons" if quantity == SIMILARITY else "gen-vs-real"
            row |= _show_beside(_index(distances, quantity), arm, comparison, short)
        rows.append(row)
    notes = [
        "On MAE features: KID and MMD (Gaussian kernel, as wide as the median distance of real people) are 0 "
        "for equal laws and fall below it by chance; precision and density say whether samples lie among "
        "people, recall and coverage whether people lie among samples (5 nearest). MS-SSIM of pairs: the "
        "higher, the more alike the volumes of an arm; beside it as many reconstructed people. Real people: "
        "the same for as many of them in the place of the samples; of KID and MMD the 95th percentile.",
    ]
    return PrintedTable(
        "variety", "Other distances and variety by arm", pd.DataFrame(rows), locate("distances"), notes
    )


def _show_beside(found: pd.DataFrame | None, arm: str, comparison: str, head: str) -> dict[str, str]:
    """Two cells: a quantity of the samples, and of real people in their place."""
    show = partial(_read_distance, found, arm, comparison)
    return {
        f"{head}{LEVELS}samples": show(lambda r: _round(r["value"])),
        f"{head}{LEVELS}real people": show(_show_floor),
    }


def _index(distances: pd.DataFrame | None, quantity: str, reference: str = CORPUS) -> pd.DataFrame | None:
    if distances is None:
        return None
    is_here = (distances["quantity"] == quantity) & (distances["reference"] == reference)
    return distances[is_here].set_index(["arm", "comparison"])


def _show_floor(row: pd.Series) -> str:
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    is_kernel = row["quantity"].startswith(("KID", "MMD"))
    return _round(row["floor_95"] if is_kernel else row["floor"])


def _count_samples(row: pd.Series) -> str:
    return _flag_few(row["n_samples"])


def _count_people(row: pd.Series) -> str:
    return f"{_flag_few(row['n_people'])} / {row['n_volumes']}"


def _flag_few(n: int) -> str:
    return f"{n}" + (" (few)" if n < FEW_PEOPLE else "")


def _compare_parts(found: pd.DataFrame | None, arm: str) -> str:
    """Whether the decoder's loss is larger than the generator's, as in the paper."""
    cells = [_read_distance(found, arm, name, lambda r: "") for name in _COMPARISONS[1:]]
    if any(cells) or found is None:
        return next(cell for cell in cells if cell)
    first, second = (found.loc[(arm, name), "value"] for name in _COMPARISONS[1:])
    return "yes" if first < second else "no"


def _describe_floor(row: pd.Series) -> str:
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    interval = f"[{_round(row['floor_low'])}, {_round(row['floor_high'])}]"
    return f"{_round(row['floor'])} {interval} (n {row['n_floor_people']}/{row['n_others']})"


def _judge_floor(row: pd.Series) -> str:
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    return "yes" if row["value"] > row["floor_high"] else "no"


def _round(value: float) -> str:
    return "n/a" if not math.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _read_distance(found: pd.DataFrame | None, arm: str, comparison: str, read: Callable) -> str:
    if found is None:
        return explain_missing("distances")
    if (arm, comparison) not in found.index:
        return "n/a: arm not measured"
    row = found.loc[(arm, comparison)]
    return f"n/a: {row['reason']}" if row["reason"] else read(row)
