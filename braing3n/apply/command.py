"""The command line of preprocessing a person's own scans: `braing3n preprocess scan.nii.gz`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.command import app
from braing3n.preprocess.settings import Extractor


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """Facts about the scans, and how they are processed.

    Parameters
    ----------
    spacing_mm
        Voxel size of the results; default: that of the configuration, else 1 mm.
    brain_extraction
        Method of brain extraction: hd-bet-v1 is the paper's, hd-bet its version 2 (you provide the weights),
        deepbet the fastest.
    stripped
        The scans are skull-stripped.
    bias_corrected
        The scans are bias-corrected.
    space
        The space of the scans, if file names do not give it; default: native.
    axes
        Directions in which the array's axes grow, such as LAS, if the header does not give them.
    subject
        Id of the person; default: from file names, else 01.
    session
        Id of the visit; default: from file names, else none.
    config
        YAML configuration whose sections `preprocess` and `resources` are used.
    resources
        Folder of the atlas and networks; missing ones are fetched into it.
    threads
        Number of visits that are processed in parallel.
    overwrite
        Replace results of other scans or settings under the same name.
    """

    spacing_mm: float | None = None
    brain_extraction: Extractor | None = None
    stripped: Annotated[bool, Parameter(negative="")] = False
    bias_corrected: Annotated[bool, Parameter(negative="")] = False
    space: Literal["native", "coregistered", "acpc", "talairach", "mni", "sri24"] | None = None
    axes: str = ""
    subject: str = ""
    session: str = ""
    config: Path | None = None
    resources: Path | None = None
    threads: int = 1
    overwrite: Annotated[bool, Parameter(negative="")] = False


@app.default
def preprocess(
    *scans: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    t1: Path | None = None,
    t1c: Path | None = None,
    t2: Path | None = None,
    flair: Path | None = None,
    labels: Annotated[list[Path] | None, Parameter(negative="")] = None,
    options: Options | None = None,
) -> int:
    """Preprocess single scans: `braing3n preprocess scan.nii.gz -o out/`.

    Exit status: 0 if a volume was kept, 1 if none was, 2 for a mistake in the command.

    Parameters
    ----------
    scans
        NIfTI files, a folder of them (BIDS or not), or a folder of DICOM series. The contrast (T1, T1c, T2
        or FLAIR) comes from file names, or from the description of a series.
    out
        Folder of the results, a BIDS derivative.
    t1
        The T1 scan, with any name; with this option or the next three all scans are of one visit.
    t1c
        The T1 scan after a contrast agent.
    t2
        The T2 scan.
    flair
        The FLAIR scan.
    labels
        A segmentation on the grid of one scan, transformed with it (nearest neighbour); may be repeated.
    """
    from braing3n.apply.gather import Facts
    from braing3n.apply.preprocess import Request, answer, count_kept

    options = options or Options()
    request = Request(
        paths=scans,
        out_dir=out,
        by_modality=_drop_empty({"T1": t1, "T1c": t1c, "T2": t2, "FLAIR": flair}),
        labels=labels or (),
        facts=Facts(
            options.subject,
            options.session,
            options.stripped,
            options.bias_corrected,
            options.space or "",
            check_axes(options.axes),
        ),
        changes=_drop_empty({"spacing_mm": options.spacing_mm, "brain_extraction": options.brain_extraction}),
        config_path=options.config,
        resources_dir=options.resources,
        n_workers=options.threads,
        may_overwrite=options.overwrite,
    )
    return 0 if count_kept(answer(request)) else 1


def check_axes(axes: str) -> str:
    """The axes in capitals: one of left and right, one of back and front, one of bottom and top.

    Raises:
        BrainG3nError: they are not such a code.
    """
    code = axes.upper()
    if code and (len(code) != 3 or any(len({*pair} & {*code}) != 1 for pair in ("LR", "AP", "SI"))):
        raise BrainG3nError(f"--axes {axes}: is no code of three directions, such as LAS or RPI.")
    return code


def _drop_empty(given: dict) -> dict:
    return {name: value for name, value in given.items() if value is not None}
