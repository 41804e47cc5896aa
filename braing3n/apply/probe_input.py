"""Features and labels that a person gives to `braing3n probe`: read, checked, joined and counted."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.errors import BrainG3nError
from braing3n.probe.tasks import KNOWN

IDS = ("volume_id", "scan_id", "participant_id", "person_id", "subject_id", "id")
MISSING = "empty, n/a, NA, None, nan and null are none"
MAX_CLASSES = 10  # a whole number with at most so many values is a class
SEPARATORS = {".tsv": "\t", ".csv": ",", ".txt": "\t"}


def read(path: Path) -> pd.DataFrame:
    """A table by its suffix.

    Raises:
        BrainG3nError: the file does not exist, or cannot be read.
    """
    if path.suffix not in (".parquet", *SEPARATORS):
        raise BrainG3nError(f"{path}: give a table as .parquet, .tsv or .csv.")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table.reset_index() if any(table.index.names) else table  # an index may be the ids
        return _read_text(path, SEPARATORS[path.suffix])
    except FileNotFoundError:
        raise BrainG3nError(f"{path}: no such file; check its path.") from None
    except UnicodeError:
        raise BrainG3nError(f"{path}: its text is not UTF-8; save it as UTF-8.") from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BrainG3nError(f"{path}: cannot be read as a table ({reason[:160]}).") from None


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """A table of text; a row with more cells than the header is an error, and shifts no column."""
    words = dict.fromkeys(IDS, str)  # 001 is another than 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(path, sep=separator, na_values=["n/a"], dtype=words, index_col=False)
    other = next((one for one in ";,\t" if one != separator and one in str(table.columns[0])), "")
    if len(table.columns) == 1 and other:
        raise ValueError(
            f"its cells are separated by {other!r}, and those of a {path.suffix} by {separator!r}"
        )
    return table


def take_encoded(features: pd.DataFrame) -> pd.DataFrame:
    """The table of `braing3n encode` with the id and the names of features that are expected here."""
    if not {"sub", "f0000"} <= set(features) or "participant_id" in features:
        return features
    names = {name: f"feature_{name[1:]}" for name in features if re.fullmatch(r"f\d{4}", name)}
    return features.rename(columns=names).assign(participant_id="sub-" + features["sub"].astype(str))


def join(
    features: pd.DataFrame, labels: pd.DataFrame, label: str, group: str, key: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of both tables that have a label and a group, and their features (N, F).

    What is left out is printed.

    Raises:
        BrainG3nError: a column is missing, an id stands twice in the labels, or a feature is no number.
    """
    both = [name for name in IDS if name in features and name in labels]
    key = key or (both[0] if both else "")
    if key not in features or key not in labels:
        what = f"'{key}'" if key else f"none of {', '.join(IDS)}"
        raise BrainG3nError(f"--id: {what} is a column of both tables; name the one that joins them.")
    for name, where in ((label, "label"), (group, "group")):
        if name not in labels and name not in features:
            raise BrainG3nError(f"--{where}: no column '{name}'; columns: {', '.join(map(str, labels))}.")
    if label not in labels:
        raise BrainG3nError(f"--label: '{label}' is a column of the features; put it into the labels.")
    if label == group:
        raise BrainG3nError(f"--group: '{group}' is the label; name the column of the person or family.")
    labels = labels[labels[key].notna()]  # an empty id is nobody's
    twice = labels[key][labels[key].duplicated()]
    if len(twice):
        raise BrainG3nError(f"--labels: {key} '{twice.iloc[0]}' stands in two rows; keep one.")
    columns = find_columns(features, [key, group, *labels])
    kept = features.rename(columns=dict(zip(columns, range(len(columns)), strict=True)))
    others = [name for name in features if name in (key, group) and name not in columns]
    left = kept[list(dict.fromkeys(others))].astype({key: str}).assign(_row=range(len(kept)))
    right = labels.astype({key: str}).drop(columns=[n for n in left if n in labels and n != key])
    table = keep_known(left, left.merge(right, on=key), right, label, group, key)
    x = kept[list(range(len(columns)))].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    x = x[table["_row"].to_numpy()]
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = table.iloc[bad[0][0]], columns[bad[0][1]]
        cell = features[column].iloc[row["_row"]]
        raise BrainG3nError(
            f"--features: {column} of {key} '{row[key]}' is no finite number ('{cell}'); fill or drop it"
            f"{hint_at_commas(cell)}."
        )
    warn_of_repeats(x, table[group], group)
    return table.reset_index(drop=True), x


def keep_known(
    left: pd.DataFrame, table: pd.DataFrame, right: pd.DataFrame, label: str, group: str, key: str
) -> pd.DataFrame:
    """The joined rows that have a label and a group; the numbers of the others are printed, by reason.

    Raises:
        BrainG3nError: none is left.
    """
    if table.empty:
        ids = [str(one[key].iloc[0]) if len(one) else "" for one in (left, right)]
        raise BrainG3nError(
            f"--id: no {key} is in both tables (features: '{ids[0]}', labels: '{ids[1]}', for example)."
        )
    has_label, has_group = (
        table[name].notna() & (table[name].astype(str).str.strip() != "") for name in (label, group)
    )
    known = table[has_label & has_group]
    if known.empty:
        raise BrainG3nError(f"--id: no row of the features has both {label} and {group} under its {key}.")
    reasons = {
        f"a {key} that the labels have not": len(left) - len(table),
        f"no {label}": int((~has_label).sum()),
        f"no {group}": int((has_label & ~has_group).sum()),
    }
    if len(known) < len(left):
        parts = "; ".join(f"{n} with {reason}" for reason, n in reasons.items() if n)
        print(f"warning: {len(known)} of {len(left)} rows are probed; left out: {parts} ({MISSING})")
    return known


def find_columns(features: pd.DataFrame, others: list) -> list:
    """The columns of features: those named feature_*, or all numeric ones that are none of `others`.

    Raises:
        BrainG3nError: there are none, or one has decimal commas.
    """
    columns = [name for name in features if str(name).startswith("feature_")]
    if columns:
        return columns
    # pandas names the index that it writes without a name
    free = [name for name in features if name not in others and not str(name).startswith("Unnamed:")]
    columns = list(features[free].select_dtypes("number"))
    for name in free:
        cells = features[name].dropna().astype(str)
        if name not in columns and len(cells) and cells.map(has_comma).all():
            raise BrainG3nError(
                f"--features: the cells of '{name}' are no numbers ('{cells.iloc[0]}')"
                f"{hint_at_commas(cells.iloc[0])}."
            )
    if not columns:
        raise BrainG3nError("--features: no column feature_* and no numeric column that is no label.")
    text = [str(name) for name in free if name not in columns]
    rest = f"; text, left out: {shorten(text)}" if text else ""
    print(f"features: {len(columns)} numeric columns ({shorten(list(map(str, columns)))}){rest}")
    rivals = {one for names in KNOWN.values() for one in names}
    known = ", ".join(str(name) for name in columns if normalise(name) in rivals)
    if known:
        print(f"warning: {known} among the features; if it is none, drop it, or name features feature_*")
    return columns


def warn_of_repeats(x: np.ndarray, groups: pd.Series, group: str) -> None:
    """Print how many rows have all features of another row of their group: a scan may stand twice."""
    from braing3n.probe.plan import MIN_TELLING

    if x.shape[1] < MIN_TELLING:
        return
    n_repeats = int(pd.DataFrame(x).assign(_group=groups.to_numpy()).duplicated().sum())
    if n_repeats:
        print(
            f"warning: {n_repeats} rows have the features of an earlier row of the same {group}; each counts "
            "as a scan of its own: drop those that stand twice"
        )


def normalise(name: object) -> str:
    """A column's name without case and spaces around it."""
    return str(name).strip().casefold()


def shorten(names: list[str], n_shown: int = 5) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more


def has_comma(cell: object) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return re.fullmatch(r"\s*[-+]?\d*,\d+(e[-+]?\d+)?\s*", str(cell), re.IGNORECASE) is not None


def hint_at_commas(cell: object) -> str:
    """What to do about a decimal comma; empty where there is none."""
    return ": write numbers with a point" if has_comma(cell) else ""


def is_classes(values: pd.Series) -> bool:
    """Whether a label is a class: text, or a few whole numbers."""
    if not pd.api.types.is_numeric_dtype(values):
        return True
    return values.nunique() <= MAX_CLASSES and bool((values.astype(float) % 1 == 0).all())


def choose_kind(values: pd.Series, label: str) -> bool:
    """Whether a label is a class; text that is mostly numbers is none, and all its cells must be numbers.

    Raises:
        BrainG3nError: a comma or a word turned numbers into text.
    """
    if pd.api.types.is_numeric_dtype(values):
        return is_classes(values)
    text = values.astype(str).str.strip()
    numbers = pd.to_numeric(text.where(~text.map(has_comma), text.str.replace(",", ".")), errors="coerce")
    if numbers.notna().mean() <= 0.5 or is_classes(numbers.dropna()):
        return True
    bad = text[pd.to_numeric(text, errors="coerce").isna()]
    if len(bad):
        what = hint_at_commas(bad.iloc[0]) or ": empty it, or give --kind classification"
        raise BrainG3nError(f"--label: most cells of {label} are numbers, but '{bad.iloc[0]}' is none{what}.")
    return False


def read_numbers(table: pd.DataFrame, label: str) -> pd.Series:
    """The label as numbers.

    Raises:
        BrainG3nError: one is none, or infinite.
    """
    numbers = pd.to_numeric(table[label], errors="coerce").astype(float)
    if not np.isfinite(numbers).all():
        cell = table[label][~np.isfinite(numbers)].iloc[0]
        raise BrainG3nError(f"--label: {label} '{cell}' is no finite number{hint_at_commas(cell)}.")
    return numbers


def standardise_columns(table: pd.DataFrame, label: str, group: str) -> pd.DataFrame:
    """Ids and the rivals' columns of each row, under the names of the label table."""
    ids = [f"row {k + 1}" for k in table["_row"]]
    groups = table[group].astype(str)
    standard = pd.DataFrame({"volume_id": ids, "person_id": groups, "group_id": groups, "split": "train"})
    by_name = {normalise(name): name for name in table.columns if name not in (label, group)}
    for name, known in KNOWN.items():
        found = next((by_name[one] for one in known if one in by_name), None)
        if found is None:
            continue
        standard[name] = table[found]
        if name in ("age_years", "field_strength_t"):
            standard[name] = pd.to_numeric(table[found], errors="coerce")
            bad = table[found][standard[name].isna() & table[found].notna()]
            if len(bad):
                cell = bad.iloc[0]
                print(
                    f"warning: cells of {found} that are no numbers, so unknown: {len(bad)} ('{cell}')"
                    f"{hint_at_commas(cell)}"
                )
    return standard
