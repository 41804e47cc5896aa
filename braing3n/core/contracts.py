"""The contracts of every table that crosses a stage: columns, types, units and ranges."""

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
_SCAN = {
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
_PERSON = {"person_id": (str, None), "group_id": (str, None)}
_COUNTS = {"n_people": (int, (0, 10**7)), "n_volumes": (int, (0, 10**7))}
# A probe: `everyone`, or only the `unseen` people of the splits that no model is trained on.
_PROBE = {"task": (str, None), "slice": (str, None), "people": (str, ("everyone", "unseen"))}
# One task's score of one encoder or arm.
_SCORE = {
    "metric": (str, ("auc", "r2", "mae", "r")),
    "fold_mean": (float, None),
    "fold_sd": (float, None),
    "value": (float, None),
    "low": (float, None),
    "high": (float, None),
    **_COUNTS,
    "classes": (str, None),
    "dropped": (str, None),
    "reason": (str, None),
    "note": (str, None),
}

# Quality numbers of a preprocessed volume; shares are of the brain, noise is over the brain's median.
_QUALITY = {
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

CONTRACTS: dict[str, dict[str, tuple[type, Any]]] = {
    "inventory": {
        **{name: rule for name, rule in _SCAN.items() if name != "volume_id"},
        "path": (str, "unique"),
        "stamp": (str, None),
        "source_format": (str, FORMATS),
        "axes": (str, None),
        "is_bias_corrected": (int, (0, 1)),
        "is_defaced": (int, (0, 1)),
        "is_stripped": (int, (0, 1)),
        "raw_space": (str, SPACES),
        **_PERSON,
        "segmentations": (str, None),
        "spares": (str, None),
    },
    "preprocess": {
        **_SCAN,
        "status": (str, ("kept", "excluded")),
        "reason": (str, None),
        "path": (str, None),
        "mask_path": (str, None),
        "picture_path": (str, None),
        "raw_sha256": (str, None),
        "n_refused": (int, (0, 1000)),
        "volume_sha256": (str, None),
        "native_brain_ml": (float, (0, 20000)),
        "affine_determinant": (float, None),
        **_QUALITY,
        "steps": (str, None),
        "segmentations": (str, None),
    },
    "segmentations": {
        "volume_id": (str, None),
        "cohort": (str, None),
        "label": (str, None),
        "path": (str, None),
        "raw_path": (str, None),
        "native_ml": (float, (0, 20000)),
        "carried_share": (float, (0, 10)),
        "reason": (str, None),
    },
    "volumes": {
        "volume_id": (str, "unique"),
        "row": (int, (0, 10**6)),
        "crc32": (int, (0, 2**32 - 1)),
        "mean": (float, None),
        "deviation": (float, None),
        "far_voxels": (str, None),
        "n_brain_voxels": (int, (0, 10**9)),
        "cropped_brain_share": (float, (0, 1)),
    },
    "quality": {
        **_SCAN,
        "status": (str, ("kept", "excluded")),
        "reason": (str, None),
        "decision": (str, ("keep", "drop", "")),
        "outlier_score": (float, None),
        "outlier_measure": (str, None),
        "n_compared": (int, (0, 10**7)),
        "native_brain_ml": (float, (0, 20000)),
        "affine_determinant": (float, None),
        **_QUALITY,
        "cropped_brain_share": (float, (0, 1)),
        "steps": (str, None),
    },
    "near_duplicates": {
        "volume_id": (str, None),
        "other_volume_id": (str, None),
        "modality": (str, MODALITIES),
        "correlation": (float, (-1, 1)),
        "person_id": (str, None),
        "other_person_id": (str, None),
        "is_same_file": (bool, None),
        "is_same_group": (bool, None),
    },
    "volume_list": {
        **_SCAN,
        "shard": (int, (0, 10**5)),
        **_PERSON,
        "split": (str, SPLITS),
        "path": (str, None),
        "mask_path": (str, None),
        "native_brain_ml": (float, (0, 20000)),
    },
    "records": {
        **_SCAN,
        **_PERSON,
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
    },
    "labels": {
        **_SCAN,
        **_PERSON,
        "split": (str, SPLITS),
        "age_years": (float, (0, 130)),
        "sex": (str, ("F", "M", "")),
        "dx": (str, None),
        "site": (str, None),
        "vendor": (str, None),
        "field_strength_t": (float, (0.01, 20)),
        **{name: (kind, None) for name, kind in TASK_COLUMNS.items()},
    },
    "columns": {"volume_id": (str, "unique")},  # and the columns that the configuration names
    "left_out": {
        **{name: rule for name, rule in _SCAN.items() if name not in ("volume_id", "modality")},
        "modality": (str, None),
        "path": (str, "unique"),
        "reason": (str, None),
    },
    "exclusions": {"volume_id": (str, "unique"), "cohort": (str, None), "reason": (str, None)},
    "flow": {
        "cohort": (str, None),
        "stage": (str, None),
        "received": (int, (0, 10**7)),
        "kept": (int, (0, 10**7)),
        "excluded": (int, (0, 10**7)),
        "reason": (str, None),
    },
    "counts": {
        "cohort": (str, "unique"),
        "kind": (str, None),
        **_COUNTS,
        "expected_volumes": (int, (0, 10**7)),
        "expected_people": (int, (0, 10**7)),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
    "masked_loss": {
        "predictor": (str, "unique"),
        "loss": (float, (0, float("inf"))),
        "n_volumes": (int, (0, 10**7)),
        "n_training_volumes": (int, (0, 10**7)),
    },
    "predictions": {
        "encoder": (str, None),
        **_PROBE,
        "unit_id": (str, None),
        "fold": (int, (-1, 10**3)),
        "class_name": (str, None),
        "prediction": (float, None),
        "is_converged": (bool, None),
    },
    "halves": {
        "encoder": (str, None),
        **_PROBE,
        "metric": (str, ("auc", "r2", "mae", "r")),
        "deal": (int, (0, 10**3)),
        "first": (float, None),
        "second": (float, None),
    },
    "scores": {
        "encoder": (str, None),
        **_PROBE,
        "title": (str, None),
        "source": (str, ("paper", "pair", "own", "control")),
        **_SCORE,
    },
    "sweep": {
        "arm": (str, None),
        "reading": (str, ("mean", "flattened")),
        "n_features": (int, (1, 10**8)),
        "task": (str, None),
        "title": (str, None),
        **_SCORE,
    },
    "differences": {
        "encoder": (str, None),
        "other": (str, None),
        **_PROBE,
        "metric": (str, ("auc", "r2", "mae", "r")),
        "difference": (float, None),
        "low": (float, None),
        "high": (float, None),
        **_COUNTS,
    },
    "controls": {
        "control": (str, None),
        "measure": (str, None),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        **_COUNTS,
        "n_cases": (int, (0, 10**7)),
        "n_controls": (int, (0, 10**7)),
        "expected": (str, None),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
    "samples": {
        "sample_id": (str, "unique"),
        "arm": (str, None),
        "disease": (str, None),
        "sex": (str, ("F", "M", "")),
        "modality": (str, MODALITIES),
        "site": (str, None),
        "age_years": (float, (0, 130)),
        "idh1": (str, ("wildtype", "mutant", "")),
    },
    "judged": {
        "measure": (str, ("age", "modality", "sex", "disease", "diversity")),
        "arm": (str, None),
        "value": (float, (-1, float("inf"))),
        "low": (float, (-1, 1)),
        "high": (float, (-1, 1)),
        "reference": (float, (-1, 1)),
        "n_samples": (int, (0, 10**7)),
        **_COUNTS,
        "expected": (str, None),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
    "distances": {
        "arm": (str, None),
        "comparison": (str, ("gen-vs-real", "gen-vs-recons", "recons-vs-real")),
        "quantity": (str, None),
        "value": (float, (0, float("inf"))),
        "floor": (float, (0, float("inf"))),
        "floor_low": (float, (0, float("inf"))),
        "floor_high": (float, (0, float("inf"))),
        "n_samples": (int, (0, 10**7)),
        **_COUNTS,
        "n_floor_people": (int, (0, 10**7)),
        "n_others": (int, (0, 10**7)),
        "n_features": (int, (0, 10**6)),
        "rank": (int, (0, 10**6)),
        "reason": (str, None),
        "floor_reason": (str, None),
    },
    "memorization": {
        "comparison": (str, ("real-real", "held-out-real", "synthetic-real")),
        "pool": (str, None),
        "item_id": (str, None),
        **_PERSON,
        "modality": (str, MODALITIES),
        "nearest_id": (str, None),
        "distance": (float, (0, float("inf"))),
        "threshold": (float, (0, float("inf"))),
        "is_below_threshold": (bool, None),
    },
}


def check_table(frame: pd.DataFrame, contract: str, where: str) -> pd.DataFrame:
    """Check a table against its contract and return it with the contract's types.

    Columns beyond the contract are allowed: task columns, `*_source`, planted controls.

    Raises:
        ContractError: one sentence that names the column and the first value that breaks it.
    """
    import pandera.pandas as pa

    schema = pa.DataFrameSchema(
        {name: _column(pa, kind, rule) for name, (kind, rule) in CONTRACTS[contract].items()},
        strict=False,
        coerce=True,
    )
    try:
        return schema.validate(frame, lazy=False)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        cases = getattr(error, "failure_cases", None)
        first = f", first fault: {cases!r}" if isinstance(cases, str) else ""
        if hasattr(cases, "iloc") and len(cases):
            first = f", first fault: {cases.iloc[0].get('failure_case')!r}"
        column = getattr(getattr(error, "schema", None), "name", None) or "columns"
        reason = getattr(error, "reason_code", None)
        raise ContractError(
            f"{where}: breaks the contract '{contract}' at {column} "
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


def write_table(frame: pd.DataFrame, path: str | Path, contract: str) -> None:
    """Check a table and write it as Parquet, atomically; equal content gives equal bytes."""
    frame = check_table(frame.reset_index(drop=True), contract, str(path))
    with write_atomically(path) as beside:
        frame.to_parquet(beside, index=False)


def read_table(path: str | Path, contract: str) -> pd.DataFrame:
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
