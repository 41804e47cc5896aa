"""The command line of the judges on any two folders: fidelity, memorization and control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from braing3n.control.command import app as control_app
from braing3n.core.options import Count, Seed, Threads
from braing3n.fidelity.command import app as fidelity_app
from braing3n.memorization.command import app as memorization_app

Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the results.")]
ModelFolder = Annotated[
    Path | None,
    Parameter(
        name=["--model", "-m"],
        help="Model folder whose encoder gives the features; without it they are coarse voxels.",
    ),
]
DISTANCES = {
    "quantity": "quantity",
    "features": "features",
    "value": "value",
    "matched": "at the floor's counts",
    "low": "low",
    "high": "high",
    "floor": "floor, real-real",
    "floor_95": "its 95th percentile",
    "against_floor": "verdict",
    "n_dealt": "people dealt",
}
ANATOMY = {
    "tool": "tool",
    "quantity": "quantity",
    "volume": "volume (ml)",
    "first": "generated",
    "second": "real",
    "value": "value",
    "value_low": "low",
    "value_high": "high",
    "floor_low": "real-real, low",
    "floor_high": "real-real, high",
    "n_first": "generated n",
    "n_first_left_out": "not reliable",
    "n_second": "real n",
    "n_second_left_out": "not reliable, real",
}
MEMBERS = {
    "comparison": "membership by",
    "auc": "AUC",
    "low": "low",
    "high": "high",
    "n_members": "members",
    "n_others": "others",
    "n_samples": "generated",
}
CONTROL = {
    "condition": "condition",
    "quantity": "quantity",
    "metric": "metric",
    "value": "value",
    "low": "low",
    "high": "high",
    "chance_95": "shuffled, 95th percentile",
    "gain": "gain",
    "gain_low": "gain, low",
    "gain_high": "gain, high",
    "verdict": "verdict",
    "n_generated": "generated n",
    "n_people": "people",
}


def find_app(word: str) -> App:
    """The commands of one of the words: those of the workflow, and this one."""
    return {"control": control_app, "fidelity": fidelity_app, "memorization": memorization_app}[word]


@fidelity_app.command
def compare(
    *,
    generated: Path,
    real: Path,
    out: Out,
    model: ModelFolder = None,
    inception_weights: Path | None = None,
    radimagenet_weights: Path | None = None,
    medicalnet_weights: Path | None = None,
    measured: dict[str, Path] | None = None,
    draws: int = 100,
    pairs: int = 50,
    seed: Seed = 2025,
    threads: Threads = 1,
) -> int:
    """Compare two folders of NIfTI on one grid: `braing3n fidelity compare --generated A --real B -o out/`.

    Parameters
    ----------
    generated
        Folder of generated volumes, from any generator.
    real
        Folder of real volumes, whose brains give the common mask.
    inception_weights
        Weight file of Inception V3 for the 3D-FID (sha256 begins with 6726825d).
    radimagenet_weights
        RadImageNet's ResNet50.pt, for the distance on its features of the same slices (08629f7e).
    medicalnet_weights
        MedicalNet's resnet_50.pth, for the distance on its features of whole volumes (5b6189ca).
    measured
        `--measured.SynthSeg FILE`: a TSV of volumes in ml that this tool measured, reported beside ours.
    draws
        Number of draws of people for intervals and floors.
    pairs
        Number of pairs of volumes of each folder whose similarity is measured.
    seed
        Seed of the draws.
    """
    from braing3n.core.errors import BrainG3nError
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    import pandas as pd

    from braing3n.apply.judges.compare import Comparison, compare_folders
    from braing3n.apply.judges.tables import check_out, print_table, warn_of

    if draws < 2 or pairs < 1:
        raise BrainG3nError("--draws must be at least 2, and --pairs at least 1.")
    check_out(out, "fidelity compare", generated, real)
    medical = {"radimagenet": radimagenet_weights, "medicalnet": medicalnet_weights}
    asked = Comparison(
        generated, real, out, model, inception_weights, draws, pairs, seed, medical, measured or {}
    )
    table, anatomy = compare_folders(asked)
    print_table(table, DISTANCES)
    if anatomy["value"].notna().any():
        print_table(anatomy, ANATOMY)
    warn_of(pd.concat([table, anatomy.assign(note=anatomy.loc[anatomy.reason == "", "floor_reason"])]), out)
    return 0


@memorization_app.command
def audit(
    *,
    generated: Path,
    train: Path,
    out: Out,
    held_out: Path | None = None,
    model: ModelFolder = None,
    percentile: float = 1.0,
    reference: int = 1000,
    contrastive_steps: Count = 0,
    seed: Seed = 2025,
    threads: Threads = 1,
) -> int:
    """Look for copies: `braing3n memorization audit --generated A --train B -o out/`.

    Parameters
    ----------
    generated
        Folder of generated volumes, from any generator.
    train
        Folder of the volumes that the generator was trained on.
    held_out
        Folder of real volumes of other people. The expected count is computed from them, and the audit
        reports whether generated volumes reveal who was trained on.
    percentile
        Percentile of real-real distances that flags a copy.
    reference
        Largest number of training volumes for the threshold of the copy detector.
    contrastive_steps
        Training steps of a contrastive copy detector on --train (2000 in a run); 0: no such detector. Its
        threshold comes from --held-out.
    seed
        Seed of the reference volumes and of the contrastive detector.
    """
    from braing3n.core.errors import BrainG3nError
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.apply.judges.audit import Audit, audit_folders
    from braing3n.apply.judges.tables import check_out, print_table, warn_of

    if not 0 < percentile < 100 or reference < 2:
        raise BrainG3nError("--percentile must lie between 0 and 100, and --reference must be at least 2.")
    if contrastive_steps and held_out is None:
        raise BrainG3nError("--contrastive-steps needs --held-out: its threshold is that of other people.")
    folders = [folder for folder in (generated, train, held_out) if folder is not None]
    check_out(out, "memorization audit", *folders)
    asked = Audit(generated, train, out, held_out, model, percentile, reference, seed, contrastive_steps)
    table, membership = audit_folders(asked)
    print_table(table.set_index("detector").T.rename_axis("quantity").reset_index(), None)
    if len(membership):
        print_table(membership, MEMBERS)
    warn_of(table, out)
    return 0


@control_app.command(name="compare")
def compare_control(
    *,
    generated: Path,
    requested: Path,
    real: Path,
    labels: Path,
    out: Out,
    conditions: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    model: ModelFolder = None,
    seed: Seed = 2025,
    threads: Threads = 1,
) -> int:
    """Read in generated volumes what was requested, and try whether they help a probe of real people.

    `braing3n control compare --generated A --requested A.tsv --real B --labels B.tsv -o out/`.

    Parameters
    ----------
    generated
        Folder of generated volumes, from any generator.
    requested
        Table (.tsv, .csv, .parquet) of the conditions of each generated volume: a column `file` or
        `participant_id`, and one for each condition, such as age or sex.
    real
        Folder of real volumes of people whom the generator was not trained on.
    labels
        Table of the same conditions of real people, such as a BIDS participants.tsv.
    conditions
        Columns to judge; default: all that both tables have.
    seed
        Seed of folds and draws.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.apply.judges.control import Request, judge_control
    from braing3n.apply.judges.tables import check_out, print_table, warn_of

    check_out(out, "control compare", generated, real)
    asked = Request(generated, requested, real, labels, out, model, conditions, seed)
    table = judge_control(asked)
    print_table(table, {name: title for name, title in CONTROL.items() if name in table})
    warn_of(table, out)
    return 0
