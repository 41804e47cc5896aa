"""Slices that a DICOM series lacks, found by the positions of those that are there."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from braing3n.core.errors import ScanError

# Positions, and what distinguishes the stacks of a folder; nothing that identifies a person.
TAGS = (
    "SeriesInstanceUID",
    "Rows",
    "InstanceNumber",
    "EchoTime",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
SAME_MM = 0.05  # positions that are nearer are one place: other echoes, rounded
MIN_GAP = 1.5  # of the usual distance; less is an uneven distance
N_NAMED = 3  # gaps that are named one by one


class _UnplacedError(Exception):
    """An image whose header gives no position or orientation."""


class _Slice(NamedTuple):
    stack: tuple  # slices of one series, echo and orientation
    height_mm: float  # along the stack
    number: int  # the image's or the frame's, as it is counted in the series


def check_slices(name: str, files: Sequence[Path]) -> None:
    """Check that no slice is missing between others; dcm2niix would close the gap and squeeze the head.

    What is missing at an end leaves no gap; that shows in the coverage of the brain.

    Args:
        name: of the scan, for the message, which repeats nothing of the headers but image numbers.

    Raises:
        ScanError: how many slices are missing and where, or a slice does not give its place.
        PermissionError: a file may not be read.
    """
    stacks = defaultdict(list)
    try:
        for item in _read_slices(files):
            stacks[item.stack].append(item)
    except _UnplacedError:
        raise ScanError(
            f"{name}: its headers do not give the orientation or the position (ImageOrientationPatient, "
            "ImagePositionPatient); export the series again, or give it as NIfTI with `--axes`."
        ) from None
    for slices in stacks.values():
        gaps, n_there = find_gaps([item.height_mm for item in slices], [item.number for item in slices])
        if not gaps:
            continue
        n_missing = sum(gap[0] for gap in gaps)
        places = ", ".join(f"between images {low} and {high}" for _, low, high in gaps[:N_NAMED])
        more = f" and {len(gaps) - N_NAMED} places more" if len(gaps) > N_NAMED else ""
        verb = "is" if n_missing == 1 else "are"
        raise ScanError(
            f"{name}: {n_missing} of {n_there + n_missing} slices {verb} missing ({places}{more}); "
            "get the series again."
        )


def find_gaps(heights_mm: Sequence[float], numbers: Sequence[int]) -> tuple[list[tuple[int, int, int]], int]:
    """The gaps of a stack as (missing slices, lower number, higher number), and how many places it has.

    A gap is a distance of at least 1.5 times the median one; numbers are those of the images.
    """
    order = np.argsort(heights_mm, kind="stable")
    heights, images = np.array(heights_mm, float)[order], np.array(numbers)[order]
    is_new = np.append(True, np.diff(heights) > SAME_MM)
    heights, images = heights[is_new], images[is_new]
    if len(heights) < 3:
        return [], len(heights)
    distances = np.diff(heights) / np.median(np.diff(heights))
    gaps = [
        (int(np.rint(distances[k])) - 1, int(images[k : k + 2].min()), int(images[k : k + 2].max()))
        for k in np.flatnonzero(distances >= MIN_GAP)
    ]
    return sorted(gaps, key=lambda gap: gap[1:]), len(heights)


def _read_slices(files: Sequence[Path]) -> Iterator[_Slice]:
    """Every slice or frame; files that are no images are passed over.

    Raises:
        _UnplacedError: an image does not give its position.
    """
    from pydicom import dcmread

    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they quote the values that are odd
                header = dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS))
        except PermissionError:
            raise
        except Exception:  # no DICOM; its message may quote the file
            continue
        if "Rows" not in header:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                slices = list(_list_slices(header))
        except Exception:  # a value is missing or cannot be read; its message may quote it
            raise _UnplacedError from None
        yield from slices


def _list_slices(header) -> Iterator[_Slice]:
    """One of a classic image; of a multi-frame one each frame."""
    series, echo = str(header.get("SeriesInstanceUID", "")), str(header.get("EchoTime", ""))
    if "PerFrameFunctionalGroupsSequence" not in header:
        number = int(header.get("InstanceNumber") or 0)
        yield _place(header.ImagePositionPatient, header.ImageOrientationPatient, series, echo, number)
        return
    shared = header.SharedFunctionalGroupsSequence[0]
    for number, group in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
        holder = group if "PlaneOrientationSequence" in group else shared
        orientation = holder.PlaneOrientationSequence[0].ImageOrientationPatient
        position = group.PlanePositionSequence[0].ImagePositionPatient
        yield _place(position, orientation, series, echo, number)


def _place(position, orientation, series: str, echo: str, number: int) -> _Slice:
    directions = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(*directions)
    stack = (series, echo, tuple(np.round(directions.ravel(), 2).tolist()))
    return _Slice(stack, float(normal @ np.array(position, float)), number)
