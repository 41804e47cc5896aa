"""What a table that crosses a stage must hold: columns, types, units and ranges, checked at both ends.

The contracts themselves lie in `braing3n/<word>/contracts.py`; what several of them share is here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from braing3n.core.errors import ContractError
from braing3n.core.runtime import write_atomically

if TYPE_CHECKING:
    import pandas as pd

MODALITIES = ("T1", "T1c", "T2", "FLAIR")
SPACES = ("native", "coregistered", "acpc", "talairach", "mni", "sri24")
FORMATS = ("NIfTI", "NIfTI pair", "Analyze", "DICOM")
OWN = "own:"  # before the name of a column that the configuration names, so that it is no other one
SPLITS = ("train", "validation", "test")

# A column is (type, check): type is str, int, float or bool; check is a tuple of allowed values,
# a (low, high) range, "unique", or None. A float may be missing; nothing else may.
SCAN_COLUMNS = {
    "volume_id": (str, "unique"),
    "cohort": (str, None),
    "subject_id": (str, None),
    "session_id": (str, None),
    "run": (str, None),
    "modality": (str, MODALITIES),
}
# The labels that the paper's tasks need beyond the record's own columns; a cohort may lack any.
TASK_COLUMNS: dict[str, type] = {
    **dict.fromkeys(("idh1", "mgmt", "grade", "apoe", "handedness", "ethnicity", "race"), str),
    **dict.fromkeys(("cdr", "mmse", "moca", "education_years", "gds", "updrs3", "scopa"), float),
}
PERSON_COLUMNS = {"person_id": (str, None), "group_id": (str, None)}
COUNT_COLUMNS = {"n_people": (int, (0, 10**7)), "n_volumes": (int, (0, 10**7))}
# One task's score of one encoder or arm.
SCORE_COLUMNS = {
    "metric": (str, ("auc", "r2", "mae", "r")),
    "fold_mean": (float, None),
    "fold_sd": (float, None),
    "value": (float, None),
    "low": (float, None),
    "high": (float, None),
    **COUNT_COLUMNS,
    "classes": (str, None),
    "dropped": (str, None),
    "reason": (str, None),
    "note": (str, None),
}

# Quality numbers of a preprocessed volume; shares are of the brain, noise is over the brain's median.
QUALITY_COLUMNS = {
    "atlas_dice": (float, (0, 1)),
    "atlas_mutual_information": (float, (0, 10)),
    "centre_mutual_information": (float, (-1, 10)),
    "size_mismatch": (float, (0, 10)),
    "missing_share": (float, (0, 1)),
    "coverage": (float, (0, 1)),
    "atlas_coverage": (float, (0, 1)),
    "bias_field_range": (float, (1, float("inf"))),
    "noise": (float, (0, float("inf"))),
    "negative_share": (float, (0, 1)),
    "clipped_share": (float, (0, 1)),
    "saturated_share": (float, (0, 1)),
}
# One row of what a cohort's tables say of a volume.
RECORD_COLUMNS: dict[str, tuple[type, Any]] = {
    **SCAN_COLUMNS,
    **PERSON_COLUMNS,
    "path": (str, None),
    "source_format": (str, FORMATS),
    "is_bias_corrected": (int, (0, 1)),
    "is_defaced": (int, (0, 1)),
    "is_stripped": (int, (0, 1)),
    "raw_space": (str, SPACES),
    "scan_date": (str, None),
    "age_years": (float, (0, 130)),
    "sex": (str, ("F", "M", "")),
    "dx": (str, None),
    "dx_detail": (str, None),
    "site": (str, None),
    "vendor": (str, None),
    "field_strength_t": (float, (0.01, 20)),
    **{name: (kind, None) for name, kind in TASK_COLUMNS.items()},
    "clinical_lag_days": (float, None),
    "qc_flag": (str, None),
}
# One row of what is known of a volume that is trained on.
LABEL_COLUMNS: dict[str, tuple[type, Any]] = {
    **SCAN_COLUMNS,
    **PERSON_COLUMNS,
    "split": (str, SPLITS),
    "age_years": (float, (0, 130)),
    "sex": (str, ("F", "M", "")),
    "dx": (str, None),
    "site": (str, None),
    "vendor": (str, None),
    "field_strength_t": (float, (0.01, 20)),
    **{name: (kind, None) for name, kind in TASK_COLUMNS.items()},
}


class Contract(dict[str, tuple[type, Any]]):
    """A table's name, and its columns with what they hold.

    A column is (type, check): type is str, int, float or bool; check is a tuple of allowed values, a (low,
    high) range, "unique", or None. A float may be missing; nothing else may.
    """

    def __init__(self, name: str, columns: dict[str, tuple[type, Any]]):
        super().__init__(columns)
        self.name = name


def check_table(frame: pd.DataFrame, contract: Contract, where: str) -> pd.DataFrame:
    """Check a table against its contract and return it with the contract's types.

    Columns beyond the contract are allowed: task columns, `*_source`, planted controls.

    Raises:
        ContractError: one sentence that names the column and the first value that breaks it.
    """
    import pandera.pandas as pa

    schema = pa.DataFrameSchema(
        {name: _column(pa, kind, rule) for name, (kind, rule) in contract.items()},
        strict=False,
        coerce=True,
    )
    try:
        return schema.validate(frame, lazy=False)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        cases: Any = getattr(error, "failure_cases", None)
        first = f", first fault: {cases!r}" if isinstance(cases, str) else ""
        if hasattr(cases, "iloc") and len(cases):
            first = f", first fault: {cases.iloc[0].get('failure_case')!r}"
        column = getattr(getattr(error, "schema", None), "name", None) or "columns"
        reason = getattr(error, "reason_code", None)
        raise ContractError(
            f"{where}: breaks the contract '{contract.name}' at {column} "
            f"({getattr(reason, 'name', error)}{first})."
        ) from None


def _column(pa: Any, kind: type, rule: Any) -> Any:
    checks = []
    if isinstance(rule, tuple) and rule and isinstance(rule[0], str):
        checks = [pa.Check.isin(rule)]
    elif isinstance(rule, tuple):
        checks = [pa.Check.in_range(*rule)]
    names = {str: "str", int: "int64", float: "float64", bool: "bool"}
    return pa.Column(names[kind], checks, nullable=kind is float, unique=rule == "unique", required=True)


def write_table(frame: pd.DataFrame, path: str | Path, contract: Contract) -> None:
    """Check a table and write it as Parquet, atomically; equal content gives equal bytes."""
    frame = check_table(frame.reset_index(drop=True), contract, str(path))
    with write_atomically(path) as beside:
        frame.to_parquet(beside, index=False)


def read_table(path: str | Path, contract: Contract) -> pd.DataFrame:
    """Read a Parquet table and check it.

    Raises:
        ContractError: the file is not there, is not Parquet, or breaks its contract.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:
        raise ContractError(
            f"{path}: cannot be read as a table ({type(error).__name__}); rerun its stage."
        ) from None
    return check_table(frame, contract, str(path))
