"""The function `preprocess_scans` that `import braing3n` offers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def preprocess_scans(
    *scans: str | Path,
    out: str | Path,
    by_modality: Mapping[str, str | Path] | None = None,
    subject: str = "",
    session: str = "",
    is_stripped: bool = False,
    config: str | Path | None = None,
    n_workers: int = 1,
    **settings: object,
) -> pd.DataFrame:
    """Bring scans to SRI24, as `braing3n preprocess` does.

    Args:
        scans: NIfTI files, a BIDS or loose folder of them, or a folder of DICOM series.
        out: folder of the results, a BIDS derivative.
        by_modality: T1, T1c, T2 or FLAIR -> the scan, if names do not give the contrast.
        subject: BIDS label of the person; default: from file names, else 01. session: likewise of the visit.
        is_stripped: the scans are skull-stripped.
        config: YAML configuration whose sections `preprocess` and `resources` are used.
        n_workers: number of visits that are processed in parallel.
        settings: of the section `preprocess`, such as `spacing_mm=2.0` or `brain_extraction="deepbet"`.

    Returns:
        One row a scan, kept or excluded with its reason: `status`, `path` of the volume, `mask_path`,
        `native_brain_ml`, `atlas_dice` and the other columns of the table `preprocess`.

    Raises:
        BrainG3nError: a scan, a setting or the output folder cannot be used; nothing was written.

    Example:
        >>> table = braing3n.preprocess_scans("sub-01_T1w.nii.gz", out="out", brain_extraction="deepbet")
        >>> table.loc[0, "native_brain_ml"]
    """
    import pandas as pd

    from braing3n.apply.gather import Facts
    from braing3n.apply.preprocess import TABLE_NAME, Request, answer

    request = Request(
        paths=[Path(scan) for scan in scans],
        out_dir=Path(out),
        by_modality={name: Path(path) for name, path in (by_modality or {}).items()},
        facts=Facts(subject, session, is_stripped),
        changes=settings,
        config_path=Path(config) if config else None,
        n_workers=n_workers,
    )
    answer(request)
    return pd.read_csv(Path(out) / TABLE_NAME, sep="\t", keep_default_na=False, na_values=[""])
