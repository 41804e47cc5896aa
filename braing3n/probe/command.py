"""The command line of the probes: one encoder's predictions, all encoders compared, columns of one's own."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import (
    Checkpoints,
    Cohorts,
    Labels,
    Names,
    SettingsDir,
    Threads,
    VolumeList,
    VolumesDir,
)

app = App(
    name="braing3n probe",
    help="Linear probes on frozen features: of an encoder, or, without a command, of a table.",
)


@app.command
def encoder(
    *,
    name: str,
    features: Path,
    labels: Labels,
    predictions: Path,
    halves: Path,
    columns: Path | None = None,
    own: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Probe one encoder on every task and slice, out of fold.

    Parameters
    ----------
    name
        The encoder, one of `latents.encoders`.
    features
        Its features (npz with volume_id and features, or with the reason why there are none).
    predictions
        Table of predictions to write.
    halves
        Table to write: scores on halves of the people, for intervals.
    columns
        Table of the columns that `probe.columns` names.
    own
        The settings file of `probe.columns`.
    settings
        The section `probe`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section, read_settings
    from braing3n.probe.settings import ProbeSettings

    section = parse_section(ProbeSettings, settings)
    section = section.model_copy(update={"columns": read_settings(own)}) if own else section
    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.probe.compare import probe_encoder
    from braing3n.probe.contracts import HALVES, PREDICTIONS
    from braing3n.probe.plan import load_features, read_labels, read_reason

    table, reason = read_labels(labels, columns), read_reason(features)
    found, on_halves = probe_encoder(name, load_features(features, table), table, section, reason)
    write_table(found, predictions, PREDICTIONS)
    write_table(on_halves, halves, HALVES)


@app.command
def compare(
    *,
    encoders: Names,
    probe_dir: Path,
    features: Path,
    labels: Labels,
    columns: Path | None = None,
    own: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Score all encoders, their paired differences, and what stands beside them: rivals, checks, controls.

    Parameters
    ----------
    encoders
        Names of the encoders, ours first.
    probe_dir
        Folder of what `probe encoder` wrote (predictions_<encoder>, halves_<encoder>), and of the tables to
        write: scores, differences, rivals, checks, fairness and controls (.parquet).
    features
        Features of our encoder, for the checks and controls.
    columns
        Table of the columns that `probe.columns` names.
    own
        The settings file of `probe.columns`.
    settings
        The section `probe`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section, read_settings
    from braing3n.probe.settings import ProbeSettings

    section = parse_section(ProbeSettings, settings)
    section = section.model_copy(update={"columns": read_settings(own)}) if own else section
    set_threads(threads)
    import pandas as pd

    from braing3n.core.contracts import Contract, read_table, write_table
    from braing3n.probe.beside.tables import make_tables
    from braing3n.probe.compare import Readings
    from braing3n.probe.contracts import HALVES, PREDICTIONS
    from braing3n.probe.plan import load_features, read_labels

    table = read_labels(labels, columns)

    def read_parts(contract: Contract) -> list[pd.DataFrame]:
        return [read_table(probe_dir / f"{contract.name}_{name}.parquet", contract) for name in encoders]

    readings = Readings(read_parts(PREDICTIONS), read_parts(HALVES))
    for contract, found in make_tables(readings, load_features(features, table), table, section):
        write_table(found, probe_dir / f"{contract.name}.parquet", contract)


@app.command
def readouts(
    *,
    encoders: Names,
    features_dir: Path,
    tokens: Path | None = None,
    finetuned: Path | None = None,
    labels: Labels,
    readouts: Path,
    chosen: Path,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Read every encoder on all volumes by the readouts that `probe.readouts` names.

    Parameters
    ----------
    encoders
        Names of the encoders.
    features_dir
        Folder of their features (features_<encoder>.npz).
    tokens
        Our encoder's cached tokens (.npy), for the readouts of tokens.
    finetuned
        The settings file of `probe.finetune.tasks`; their tables (finetuned_<task>.parquet), which lie beside
        this one, are taken in.
    readouts
        Table to write.
    chosen
        The settings file of `probe.readouts`.
    settings
        The section `probe`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section, read_settings
    from braing3n.probe.settings import ProbeSettings

    section = parse_section(ProbeSettings, settings)
    section = section.model_copy(update={"readouts": tuple(read_settings(chosen))})
    set_threads(threads)
    import pandas as pd

    from braing3n.core.contracts import read_table, write_table
    from braing3n.probe.beside.tables import read_encoders
    from braing3n.probe.beside.tokens import read_tokens
    from braing3n.probe.contracts import READOUTS
    from braing3n.probe.plan import load_features, plan_probes, read_labels

    table = read_labels(labels)
    planned = plan_probes(table, section, "paper")
    probes = [probe for probe in planned if (probe.slice, probe.people) == ("all", "everyone")]
    found = list(read_encoders(encoders, features_dir, table, probes, section))
    if tokens:
        load_features(features_dir / "features_mae.npz", table)  # whose rows are those of the tokens
        found += read_tokens(tokens, probes, section)
    for task in read_settings(finetuned) if finetuned else ():
        found.append(read_table(readouts.parent / f"finetuned_{task}.parquet", READOUTS))
    none = pd.DataFrame(columns=list(READOUTS))
    write_table(pd.concat(found or [none], ignore_index=True), readouts, READOUTS)


@app.command
def finetune(
    *,
    task: str,
    encoder: Path,
    features: Path,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    labels: Labels,
    scores: Path,
    checkpoints: Checkpoints = None,
    settings: str = "{}",
    training: str = "{}",
    threads: Threads = 1,
) -> None:
    """Fine-tune our encoder on one task in each fold, out of fold; a killed job resumes where it was.

    Parameters
    ----------
    task
        One of the paper's tasks, such as `sex`.
    encoder
        The encoder's weight file.
    features
        Its mean tokens (npz), as cached.
    scores
        Table to write, of the form of the other readouts.
    settings
        The section `probe`: its settings file, or a configuration file.
    training
        The section `probe.finetune`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.core.errors import ContractError
    from braing3n.core.settings import parse_section
    from braing3n.probe.contracts import READOUTS
    from braing3n.probe.finetune.read import find_task, read_finetuned
    from braing3n.probe.finetune.train import StartingPoint
    from braing3n.probe.plan import check_duplicates, load_features, plan_probe, read_labels
    from braing3n.probe.settings import FinetuneSettings, ProbeSettings
    from braing3n.training import count_workers, open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    table, volumes = read_labels(labels), PackedVolumes(volume_list, volumes_dir)
    values, section = load_features(features, table), parse_section(ProbeSettings, settings)
    if list(volumes.table["volume_id"]) != list(table["volume_id"]):
        raise ContractError(f"{volume_list}: its volumes are not those of the label table; rerun `manifest`.")
    check_duplicates(values, table)
    probe = plan_probe(find_task(task), "all", table, section)
    source = StartingPoint(encoder, volumes, volumes.digest(), values, section)
    options, runs_dir = (
        parse_section(FinetuneSettings, training),
        checkpoints or scores.parent / "checkpoints",
    )
    found = read_finetuned(probe, source, section, options, runs_dir, count_workers(threads))
    if open_accelerator().is_main_process:
        write_table(found, scores, READOUTS)


@app.command
def columns(
    *,
    volume_list: VolumeList,
    labels: Labels,
    run: str,
    settings_dir: SettingsDir,
    cohorts: Cohorts,
    settings: Path,
    out: Path,
) -> None:
    """Read the columns that `probe.columns` names from each cohort's participants.tsv, one row a volume.

    Parameters
    ----------
    run
        The run's name.
    settings
        The settings file of `probe.columns`.
    out
        The table to write (.parquet).
    """
    from braing3n.cohort import find_raw_dirs
    from braing3n.cohort.settings import read_cohorts
    from braing3n.core.contracts import read_table, write_table
    from braing3n.core.settings import read_settings
    from braing3n.ingest.bids_columns import read_columns
    from braing3n.manifest.contracts import LABELS
    from braing3n.probe.contracts import COLUMNS
    from braing3n.volumes.contracts import VOLUME_LIST

    folders = find_raw_dirs(run, read_cohorts(settings_dir, cohorts))
    volumes, known = read_table(volume_list, VOLUME_LIST), read_table(labels, LABELS)
    table, flags = read_columns(volumes, known, read_settings(settings), folders)
    for flag in flags:
        print(f"warning: {flag}")
    write_table(table, out, COLUMNS)
