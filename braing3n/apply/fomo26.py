"""The entry of a FOMO26 container: one raw NIfTI in, one vector out (docs/fomo26.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from braing3n.apply.trained.command import Device, Model
from braing3n.core.errors import BrainG3nError, show_text

if TYPE_CHECKING:
    import numpy as np

app = App(name="braing3n fomo26", help="Write one scan's features as a FOMO26 container does.")


@app.default
def run(
    *,
    scan: Annotated[Path, Parameter(name="--input")],
    vector: Annotated[Path, Parameter(name="--output")],
    model: Model,
    resources: Path | None = None,
    device: Device = "auto",
    threads: int = 0,
) -> int:
    """Write the features of one raw scan, the mean over tokens, as a vector: float32 (width,) in a `.npy`.

    Exit status: 0 if the vector was written; 2 if there is none, with the reason on the error stream.

    Parameters
    ----------
    scan
        A raw NIfTI of any contrast.
    vector
        The file to write; a missing folder is made.
    resources
        Folder of the atlas and networks that preprocessing needs.
    device
        Device of the model; auto: the fastest one.
    threads
        CPU threads; 0: all CPUs that this process may use.
    """
    import numpy as np

    from braing3n.core.runtime import make_folder, write_atomically

    if not scan.is_file():
        raise BrainG3nError(f"{scan}: there is no such file; give one NIfTI as --input.")
    if vector.is_dir():
        raise BrainG3nError(f"{vector}: is a folder; give the file to write as --output.")
    make_folder(vector.parent)
    with keep_error_stream():
        features, warnings = embed(scan, model, resources, device, threads)
    with write_atomically(vector) as beside, open(beside, "wb") as file:
        np.save(file, features, allow_pickle=False)
    for warning in warnings:
        print(show_text(f"warning: {warning}"), file=sys.stderr)
    return 0


def embed(
    scan: Path, model: str, resources: Path | None, device: str, threads: int
) -> tuple[np.ndarray, list[str]]:
    """The features of one raw scan, float32 (width,), and warnings; all other files are removed.

    Raises:
        BrainG3nError: preprocessing excludes the scan, or its features are not finite; with the reason.
    """
    from braing3n.apply.trained.command import open_model
    from braing3n.core.scratch import open_scratch

    modality, notes = choose_modality(scan)
    with open_scratch() as folder:
        opened = open_model(model, folder, device, threads)

        import numpy as np

        from braing3n.apply.trained.look import look
        from braing3n.apply.trained.scans import Given, open_scans

        given = Given([], {modality: scan}, subject="scan", resources_dir=resources)
        found, warnings = open_scans(given, opened.preprocess, folder)
        (seen,) = look(opened, found, "fomo26", warnings, [])
    return seen.features.astype(np.float32), [*notes, *warnings]


def choose_modality(scan: Path) -> tuple[str, list[str]]:
    """The contrast that a name gives, else T1 with a warning. The features do not depend on it."""
    from braing3n.apply.contrast import parse_modality
    from braing3n.core.contracts import MODALITIES

    named = parse_modality(scan.name.removesuffix(".gz").removesuffix(".nii"))
    if named in MODALITIES:
        return named, []
    known = ", ".join(MODALITIES)
    return "T1", [f"{scan.name}: its name gives none of {known}; it is preprocessed as a T1 is"]


@contextmanager
def keep_error_stream() -> Iterator[None]:
    """Send reports meanwhile, also those of child processes, to the output stream.

    The validator shows the first 500 characters of a failed case's error stream, which must be the reason.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(1, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
