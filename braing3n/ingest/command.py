"""The command line of `ingest`."""

from pathlib import Path

from cyclopts import App

app = App(name="ingest", help="Read a cohort's tables into records, one row a volume.")


@app.command
def cohort(*, key: str, scans: Path, tables: Path, records: Path, run: str, settings: str) -> None:
    """Read one cohort's labels.

    Parameters
    ----------
    key: the cohort's key in the configuration.
    scans: its inventory's scans.tsv.
    tables: its inventory's tables.tsv, which names every table and its digest.
    records: the records to write (.parquet).
    run: the run's name.
    settings: the cohort's section of the configuration as JSON.
    """
    import pandas as pd

    from braing3n import ingest
    from braing3n.bids import volume_id
    from braing3n.cohort import find_kind, find_raw_dir, load_cohort
    from braing3n.config import CohortSettings, parse_section
    from braing3n.contracts import write_table
    from braing3n.ledger import check_books, write_provenance

    options = parse_section(CohortSettings, settings)
    frame = pd.read_csv(scans, sep="\t", dtype=str, keep_default_na=False)
    identity = ["cohort", "subject_id", "session_id", "run", "modality"]
    frame.insert(0, "volume_id", [volume_id(*row) for row in frame[identity].itertuples(index=False)])
    kind = load_cohort(find_kind(key, options))
    labels = kind.read_records(find_raw_dir(run, key, options), key, frame)
    if labels.empty:
        labels = pd.DataFrame({"volume_id": []})
    table = frame.drop(columns="path").merge(labels, on="volume_id", how="left", validate="one_to_one")
    check_books(frame["volume_id"], table["volume_id"], [], f"ingest of {key}")
    flagged = table.loc[table["qc_flag"] != "", ["volume_id", "qc_flag"]]
    for row in flagged.head(20).itertuples():
        print(f"{row.volume_id}: {row.qc_flag}")
    if len(flagged) > 20:
        print(f"... and {len(flagged) - 20} more flagged volumes; see qc_flag in {records}.")
    write_table(table, records, "records")
    write_provenance(records, "ingest", ingest.STAGE_VERSION, [scans, tables], settings)
