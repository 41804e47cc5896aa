"""The command line of the probes: one encoder's predictions, then all encoders compared."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from braing3n.core.options import Labels, Paths, Threads

app = App(name="braing3n probe", help="Linear probes on frozen features.")


@app.command
def encoder(
    *,
    name: str,
    features: Path,
    labels: Labels,
    predictions: Path,
    halves: Path,
    columns: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Probe one encoder on every task and slice, out of fold.

    Parameters
    ----------
    name
        The encoder, one of `latents.encoders`.
    features
        Its features (npz with volume_id and features).
    predictions
        Table of predictions to write.
    halves
        Table to write: scores on halves of the people, for intervals.
    columns
        Table of the columns that `probe.columns` names.
    settings
        JSON of the section `probe`, or a configuration file.
    """
    from braing3n.config import ProbeSettings, parse_section
    from braing3n.core.runtime import set_threads

    section = parse_section(ProbeSettings, settings)
    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.probe.compare import probe_encoder
    from braing3n.probe.plan import load_features, read_labels

    table = read_labels(labels, columns)
    found, on_halves = probe_encoder(name, load_features(features, table), table, section)
    write_table(found, predictions, "predictions")
    write_table(on_halves, halves, "halves")


@app.command
def compare(
    *,
    predictions: Paths,
    halves: Paths,
    features: Path,
    labels: Labels,
    scores: Path,
    differences: Path,
    controls: Path,
    columns: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Score all encoders, their paired differences and the controls.

    Parameters
    ----------
    predictions
        One table an encoder, from `probe encoder`.
    halves
        One table an encoder, from `probe encoder`.
    features
        Features of our encoder, for the controls.
    scores
        Table of scores to write.
    differences
        Table of paired differences to write.
    controls
        Table of controls to write.
    columns
        Table of the columns that `probe.columns` names.
    settings
        JSON of the section `probe`, or a configuration file.
    """
    from braing3n.config import ProbeSettings, parse_section
    from braing3n.core.runtime import set_threads

    section = parse_section(ProbeSettings, settings)
    set_threads(threads)
    from braing3n.core.contracts import read_table, write_table
    from braing3n.probe.compare import Readings, compare_encoders
    from braing3n.probe.controls import run_controls
    from braing3n.probe.plan import load_features, read_labels

    table = read_labels(labels, columns)
    found = [read_table(path, "predictions") for path in predictions]
    readings = Readings(found, [read_table(path, "halves") for path in halves])
    score_table, difference_table = compare_encoders(readings, table, section)
    control_table = run_controls(load_features(features, table), table, section)
    write_table(score_table, scores, "scores")
    write_table(difference_table, differences, "differences")
    write_table(control_table, controls, "controls")


@app.command
def sweep(
    *,
    arms: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    latents: Paths,
    untrained: Path,
    volume_list: Path,
    labels: Labels,
    scores: Path,
    sweep_settings: str = "{}",
    settings: str = "{}",
    threads: Threads = 1,
):
    """Probe every arm of the sweep over d, its mean and flattened, and the untrained encoder.

    Parameters
    ----------
    arms
        Names of the arms.
    latents
        Their latents (.npy), rows as in the volume list.
    untrained
        Features of the untrained encoder (.npz).
    volume_list
        The sweep's volume list.
    scores
        Table of scores to write.
    sweep_settings
        JSON of the section `tokenizer.sweep`, or a configuration file.
    settings
        JSON of the section `probe`, or a configuration file.
    """
    from braing3n.config import ProbeSettings, SweepSettings, parse_section
    from braing3n.core.runtime import set_threads

    sections = parse_section(SweepSettings, sweep_settings), parse_section(ProbeSettings, settings)
    set_threads(threads)
    from braing3n.core.contracts import read_table, write_table
    from braing3n.sweep.probe import probe_sweep

    volume_ids = read_table(volume_list, "volume_list")["volume_id"]
    table = read_table(labels, "labels").set_index("volume_id").loc[volume_ids].reset_index()
    paths = dict(zip(arms, latents, strict=True))
    write_table(probe_sweep(paths, untrained, table, *sections), scores, "sweep")
