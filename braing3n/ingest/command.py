"""The command line of `ingest`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Labels, Paths, VolumeList

app = App(name="braing3n ingest", help="Read a cohort's tables into records, one row a volume.")


@app.command
def cohort(
    *,
    key: str,
    scans: Path,
    left_out: Path,
    tables: Path,
    records: Path,
    exclusions: Path,
    run: str,
    settings: str,
) -> None:
    """Read one cohort's labels.

    Parameters
    ----------
    key
        The cohort's key in the configuration.
    scans
        Its inventory's scans.tsv.
    left_out
        Its inventory's left_out.tsv.
    tables
        Its inventory's tables.tsv, which names every table and its digest.
    records
        The records to write (.parquet).
    exclusions
        The scans that the cohort's rules leave out, to write (.parquet).
    run
        The run's name.
    settings
        The cohort's settings file.
    """
    from braing3n import ingest
    from braing3n.cohort import find_kind, find_raw_dir, load_cohort, settle_options
    from braing3n.cohort.settings import CohortSettings
    from braing3n.core.accounting import write_provenance
    from braing3n.core.contracts import write_table
    from braing3n.core.settings import parse_section
    from braing3n.ingest.cohort import build_records, read_tsv

    section = parse_section(CohortSettings, settings)
    kind = load_cohort(find_kind(key, section))
    lost = read_tsv(left_out)
    table = build_records(
        kind,
        key,
        read_tsv(scans),
        lost,
        [Path(path) for path in read_tsv(tables)["path"]],
        settle_options(key, kind, section.options),
        find_raw_dir(run, key, section),
    )
    write_table(lost.drop(columns="facts"), exclusions, "left_out")
    write_table(table, records, "records")
    write_provenance(records, "ingest", ingest.STAGE_VERSION, [scans, left_out, tables], section.as_json())


@app.command
def columns(
    *, volume_list: VolumeList, labels: Labels, run: str, cohorts: Paths, settings: Path, out: Path
) -> None:
    """Read the columns that `probe.columns` names from each cohort's participants.tsv, one row a volume.

    Parameters
    ----------
    run
        The run's name.
    cohorts
        The cohorts' settings files.
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

    folders = find_raw_dirs(run, read_cohorts(cohorts))
    volumes, known = read_table(volume_list, "volume_list"), read_table(labels, "labels")
    table, flags = read_columns(volumes, known, read_settings(settings), folders)
    for flag in flags:
        print(f"warning: {flag}")
    write_table(table, out, "columns")
