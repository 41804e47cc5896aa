"""The BIDS-App entry: `braing3n bids-app <bids_dir> <output_dir> participant`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.settings import Extractor

app = App(name="braing3n bids-app", help="Preprocess a BIDS dataset as a BIDS-App does.")


@app.default
def run(
    bids_dir: Path,
    output_dir: Path,
    analysis_level: Literal["participant"],
    /,
    *,
    participant_label: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    brain_extraction: Extractor | None = None,
    spacing_mm: float | None = None,
    config: Path | None = None,
    n_cpus: int = 1,
) -> int:
    """Bring the anatomical scans of a BIDS dataset to SRI24; the output folder is a BIDS derivative.

    Exit status: 0 if a volume was kept, 1 if none was, 2 for a mistake in the command.

    Parameters
    ----------
    bids_dir
        The dataset.
    output_dir
        Folder of the results, outside the raw scans.
    analysis_level
        Always participant: scans are preprocessed one visit at a time.
    participant_label
        People to preprocess, with or without `sub-`; default: all.
    brain_extraction
        Method of brain extraction, as in `braing3n preprocess`.
    spacing_mm
        Voxel size of the results.
    config
        YAML configuration whose sections `preprocess` and `resources` are used.
    n_cpus
        Number of visits that are processed in parallel.
    """
    from braing3n.apply.preprocess import Request, answer, count_kept

    changes = {"brain_extraction": brain_extraction, "spacing_mm": spacing_mm}
    request = Request(
        paths=find_people(bids_dir, participant_label or []),
        out_dir=output_dir,
        changes={name: value for name, value in changes.items() if value is not None},
        config_path=config,
        n_workers=n_cpus,
    )
    return 0 if count_kept(answer(request)) else 1


def find_people(bids_dir: Path, labels: list[str]) -> list[Path]:
    """The folders of these people, or without a label the dataset's.

    Raises:
        BrainG3nError: the dataset does not exist, or lacks one of the people.
    """
    if not bids_dir.is_dir():
        raise BrainG3nError(f"{bids_dir}: there is no such folder; give the BIDS dataset.")
    folders = [bids_dir / f"sub-{label.removeprefix('sub-')}" for label in labels]
    missing = [folder.name for folder in folders if not folder.is_dir()]
    if missing:
        known = ", ".join(sorted(path.name for path in bids_dir.glob("sub-*"))[:5])
        raise BrainG3nError(f"{bids_dir}: has no {', '.join(missing)}; it has {known or 'no sub-* folder'}.")
    return folders or [bids_dir]
