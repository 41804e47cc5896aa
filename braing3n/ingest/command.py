"""The command line of `ingest`."""

from pathlib import Path

from cyclopts import App

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
    from braing3n.ingest.contracts import LEFT_OUT, RECORDS

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
    write_table(lost.drop(columns="facts"), exclusions, LEFT_OUT)
    write_table(table, records, RECORDS)
    write_provenance(records, "ingest", ingest.STAGE_VERSION, [scans, left_out, tables], section.as_json())
