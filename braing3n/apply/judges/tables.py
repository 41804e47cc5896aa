"""Results of the judges as files: tables as Parquet and as text, pictures of pairs, a report as JSON."""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.apply.judges.folders import VolumeFolder
from braing3n.apply.trained.outputs import RESEARCH_ONLY, write_report
from braing3n.core.errors import BrainG3nError, show_text
from braing3n.core.runtime import overlap, read_json, write_atomically

N_LEFT_OUT_SAID = 5
N_CHARACTERS_SAID = 400  # of a note; the whole stands in the table
REPORT = "judged.json"


def check_out(out: Path, command: str, *folders: Path) -> None:
    """Check that the folder of the results is this command's own, and the compared folders are separate.

    Raises:
        BrainG3nError: it lies in one of them or contains one, or holds another command's results; or one of
            them is another one, or lies in it.
    """
    for folder in folders:
        if overlap(out, folder):
            raise BrainG3nError(f"--out {out}: lies in {folder} or around it; give another folder.")
    for one, other in permutations(folders, 2):
        if one.resolve() == other.resolve():
            raise BrainG3nError(f"{one}: is given twice; a folder compared with itself says nothing.")
        if other.resolve() in one.resolve().parents:
            raise BrainG3nError(f"{one}: lies in {other}, whose volumes would be its own; separate them.")
    before = read_json(out / REPORT).get("GeneratedBy", {}).get("Command", command)
    if before != command:
        raise BrainG3nError(f"--out {out}: holds the results of `{before}`; give another folder.")


def write_results(
    out: Path, command: str, tables: dict[str, pd.DataFrame], found: dict[str, VolumeFolder]
) -> None:
    """Each table as `<name>.parquet`, and `judged.json` with the folders' numbers and the common box."""
    for name, table in tables.items():
        with write_atomically(out / f"{name}.parquet") as beside:
            table.to_parquet(beside, index=False)
    box = next(iter(found.values())).box
    mask = next(iter(found.values())).mask
    assert box is not None
    assert mask is not None
    sets = {
        role: {"Folder": one.folder.name, "Volumes": len(one), "LeftOut": len(one.left_out)}
        for role, one in found.items()
    }
    content = {"Sets": sets, "Box": box.describe(), "MaskVoxels": int(mask.sum())}
    write_report(out / REPORT, command, content, list_warnings(found))


def list_warnings(found: dict[str, VolumeFolder]) -> list[str]:
    """A sentence for each of the first files that were left out, and the number of the others."""
    whole = [f"{role}: {name}: {why}" for role, one in found.items() for name, why in one.left_out]
    more = len(whole) - N_LEFT_OUT_SAID
    return whole[:N_LEFT_OUT_SAID] + ([f"{more} more were left out (left_out.parquet)"] if more > 0 else [])


def print_table(table: pd.DataFrame, columns: dict[str, str] | None = None) -> None:
    """Print a table, or some of its columns under other names; a number that does not exist is n/a."""
    titles = columns or {name: name for name in table}
    cells = {
        show_text(str(t), ""): [show_text(format_cell(v), "") for v in table[n]] for n, t in titles.items()
    }
    print(pd.DataFrame(cells).to_string(index=False))


def format_cell(value: object) -> str:
    """A cell's text."""
    if isinstance(value, float):
        return "n/a" if not np.isfinite(value) else f"{value:.4g}"
    return str(value) if value == value and value is not None else "n/a"


def warn_of(table: pd.DataFrame, out: Path) -> None:
    """Print why numbers are n/a, which files were left out, whether the sets are small, and the folder."""
    columns = [name for name in ("reason", "note") if name in table]
    notes = dict.fromkeys(text for name in columns for text in table[name] if text and text == text)
    report = read_json(out / REPORT)
    for line in [*notes, *report.get("Warnings", [])]:
        shown = line if len(line) <= N_CHARACTERS_SAID else f"{line[:N_CHARACTERS_SAID]} … (see {out})"
        print(f"note: {show_text(shown, '')}", file=sys.stderr)
    print(f"results in {out}. {RESEARCH_ONLY}")


def draw_pairs(found: dict[str, VolumeFolder], nearest: pd.DataFrame, path: Path, n_pairs: int) -> None:
    """Draw the first pairs of a table: a generated volume and beside it the nearest of the other folder."""
    from braing3n.training.picture import draw_volumes

    first, second = found.values()
    rows = [{name: k for k, name in enumerate(one.names)} for one in (first, second)]
    shown = {}
    for k, pair in enumerate(nearest.head(n_pairs).itertuples(), start=1):
        shown[f"{k}: {shorten(pair.generated)}"] = first.load(rows[0][pair.generated])
        shown[f"{k}: {shorten(pair.nearest)}"] = second.load(rows[1][pair.nearest])
    with write_atomically(path) as beside:
        draw_volumes(shown, beside, n_columns=4)


def shorten(name: str) -> str:
    """The last part of a path, shortened in its middle if it is long."""
    last = Path(name).name.split(".nii")[0]
    return last if len(last) <= 24 else f"{last[:14]}…{last[-9:]}"
