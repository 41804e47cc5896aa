"""The command line of `manifest`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

# An option that takes all words up to the next option.
Paths = Annotated[list[Path], Parameter(consume_multiple=True)]
app = App(name="manifest", help="Join all cohorts: the volume list, the splits, the label table.")


@app.command
def volume_list(
    *, inventories: Paths, tables: Paths, out: Path, flow: Path, excluded: Path, settings: str
) -> None:
    """Build the list of what is trained on, from inventories and preprocess tables alone.

    Parameters
    ----------
    inventories: the shards' inventories.
    tables: the shards' preprocess tables.
    out: the volume list to write (.parquet).
    flow: the books to write (.parquet).
    excluded: the exclusions to write (.parquet).
    settings: the section `manifest` as JSON, or a configuration file.
    """
    from braing3n import manifest
    from braing3n.config import ManifestSettings, parse_section
    from braing3n.ledger import write_provenance
    from braing3n.manifest.tables import build_volume_list

    options = parse_section(ManifestSettings, settings)
    build_volume_list(inventories, tables, options, out, flow, excluded)
    write_provenance(out, "manifest", manifest.STAGE_VERSION, [*inventories, *tables], options.as_json())


@app.command
def labels(*, volume_list: Path, records: Paths, exclusions: Paths, out: Path, flow: Path) -> None:
    """Build the table of what is known about each listed volume.

    Parameters
    ----------
    volume_list: the volume list.
    records: the cohorts' records.
    exclusions: the scans that the cohorts' rules leave out.
    out: the label table to write (.parquet).
    flow: the books of ingest to write (.parquet).
    """
    from braing3n import manifest
    from braing3n.ledger import write_provenance
    from braing3n.manifest.tables import build_ingest_flow, build_label_table

    build_label_table(volume_list, records, out)
    build_ingest_flow(records, exclusions, flow)
    write_provenance(out, "manifest", manifest.STAGE_VERSION, [volume_list, *records])
