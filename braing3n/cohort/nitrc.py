"""What downloads of the NITRC Image Repository share: a folder a session, a folder a scan, `NIfTI` in it."""

from __future__ import annotations

import re
from collections.abc import Callable


def image_path(session: str, scan: str, file: str = r"[^/]+") -> str:
    """A pattern for `<session>/[scans/]<scan>/[resources/]NIfTI[-1]/[files/]<file>.nii[.gz]`.

    Args:
        session: regular expression of the session's label, such as `NYU_19902_1`, with the group `subject`.
        file: regular expression of the file's name without its ending; a T1 may be called `rest` here.
    """
    resource = r"(?:(?:resources/)?NIfTI(?:-\d+)?/)?(?:files/)?"
    return rf"{session}/(?:scans/)?{scan}/{resource}{file}\.nii(?:\.gz)?"


def pad_id(n_digits: int) -> Callable[[str], str]:
    """For `Cohort.name_subject`: an id of digits gets the zeros back that this repository leaves out."""
    return lambda text: text.strip().zfill(n_digits) if text.strip().isdigit() else text.strip()


def count_session(label: str) -> str:
    """For `Cohort.name_session`: `baseline` is 1, `retest_1` and `followup_1` are 2; a number stays.

    >>> count_session("Retest_2")
    '3'
    """
    later = re.fullmatch(r"(?:retest|followup)_(\d+)", label.strip(), re.IGNORECASE)
    if later:
        return str(int(later[1]) + 1)
    return "1" if label.strip().lower() == "baseline" else label
