"""Command line of preprocess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.settings import Extractor

app = App(name="braing3n preprocess", help="Raw scans to brains in SRI24: your own, or a shard of the DAG.")


@app.command
def shard(
    *,
    inventory: Path,
    store: Path,
    table: Path,
    settings: str = "{}",
    resources: str = "{}",
    threads: int = 1,
) -> None:
    """Preprocess one inventory shard.

    Parameters
    ----------
    inventory
        TSV of raw scans.
    store
        Folder of the preprocessed tree; one BIDS derivative a cohort.
    table
        Parquet to write: one row a scan, kept or excluded with its reason.
    settings
        JSON of the `preprocess` section, or a YAML configuration.
    resources
        JSON of the `resources` section, or a YAML configuration.
    threads
        Worker processes of one thread each.
    """
    from braing3n.core.settings import ResourceSettings, parse_section
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.preprocess.shard import preprocess_shard

    preprocess_shard(
        inventory,
        store,
        table,
        parse_section(PreprocessSettings, settings),
        parse_section(ResourceSettings, resources),
        threads,
    )


@Parameter(name="*")
@dataclass(frozen=True)
class Said:
    """What the user says of the scans and of the work.

    Parameters
    ----------
    spacing_mm
        Voxel size of the results; 1 mm unless the configuration says otherwise.
    brain_extraction
        How brains are found: hd-bet-v1 is the paper's, hd-bet its version 2 (bring the weights), deepbet
        the quickest.
    stripped
        The scans hold the brain only.
    bias_corrected
        The scans are bias-corrected already.
    space
        The space that the scans lie in, where names do not tell it; else the scanner's own.
    axes
        Directions in which the array's axes grow, such as LAS, where the header does not give them.
    subject
        Id of the person; else that which names tell, or 01.
    session
        Id of the visit; else that which names tell, or none.
    config
        YAML configuration; its sections `preprocess` and `resources` count.
    resources
        Folder of the atlas and networks; they are fetched where it lacks them.
    threads
        Visits that are worked on at a time.
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
    said: Said | None = None,
) -> int:
    """Preprocess single scans: `braing3n preprocess scan.nii.gz -o out/`.

    Exit status: 0 where a volume was kept, 1 where none was, 2 for a mistake in the command.

    Parameters
    ----------
    scans
        NIfTI files, a folder of them (BIDS or loose), or a folder of DICOM series. Names, or a series'
        description, tell T1, T1c, T2 and FLAIR.
    out
        Folder of the results, a BIDS derivative.
    t1
        The T1 scan, whatever its name; with this and the next three all scans are of one visit.
    t1c
        The T1 scan after a contrast agent.
    t2
        The T2 scan.
    flair
        The FLAIR scan.
    labels
        A segmentation on one of the scans' grids, to go along (nearest neighbour); may be repeated.
    """
    from braing3n.apply.gather import Facts
    from braing3n.apply.preprocess import Request, preprocess_scans

    said = said or Said()
    request = Request(
        paths=scans,
        out_dir=out,
        by_modality=_drop_empty({"T1": t1, "T1c": t1c, "T2": t2, "FLAIR": flair}),
        labels=labels or (),
        facts=Facts(
            said.subject,
            said.session,
            said.stripped,
            said.bias_corrected,
            said.space or "",
            check_axes(said.axes),
        ),
        changes=_drop_empty({"spacing_mm": said.spacing_mm, "brain_extraction": said.brain_extraction}),
        config_path=said.config,
        resources_dir=said.resources,
        n_workers=said.threads,
        may_overwrite=said.overwrite,
    )
    return 0 if preprocess_scans(request) else 1


def check_axes(axes: str) -> str:
    """The axes in capitals; one of left and right, of back and front, and of bottom and top each.

    Raises:
        BrainG3nError: they are no such code.
    """
    code = axes.upper()
    if code and (len(code) != 3 or any(len({*pair} & {*code}) != 1 for pair in ("LR", "AP", "SI"))):
        raise BrainG3nError(f"--axes {axes}: is no code of three directions, such as LAS or RPI.")
    return code


def _drop_empty(given: dict) -> dict:
    return {name: value for name, value in given.items() if value is not None}
