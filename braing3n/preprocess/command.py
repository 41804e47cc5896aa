"""Command line of preprocess."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

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
        The section `preprocess`: its settings file, or a configuration file.
    resources
        The section `resources`: its settings file, or a configuration file.
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
