"""The command line of `manifest`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from braing3n.core.options import Cohorts, SettingsDir, Shards, Threads, VolumeList, list_shards

Results = Annotated[Path, Parameter(help="Folder of the run's results.")]

app = App(name="braing3n manifest", help="Join all cohorts: the volume list, the splits, the label table.")


@app.command
def near_duplicates(
    *,
    results: Results,
    shards: Shards,
    out: Path,
    picture: Path,
    settings: str,
    volumes: str,
    threads: Threads = 1,
) -> None:
    """Search all volumes for one brain under two people's ids.

    Parameters
    ----------
    out
        The table of pairs to write (.parquet).
    picture
        The closest pairs side by side to write (.png).
    settings
        The section `manifest`: its settings file, or a configuration file.
    volumes
        The section `volumes`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.core.settings import parse_section
    from braing3n.manifest.contracts import NEAR_DUPLICATES
    from braing3n.manifest.duplicates import describe_pairs, find_near_duplicates
    from braing3n.manifest.quality.picture import draw_pairs
    from braing3n.manifest.settings import ManifestSettings
    from braing3n.volumes.dataset import list_indices
    from braing3n.volumes.settings import VolumesSettings

    threshold = parse_section(ManifestSettings, settings).near_duplicate_correlation
    spacing_mm = parse_section(VolumesSettings, volumes).spacing_mm
    tables, volumes_dir = list_shards(results / "preprocess", shards, ".parquet"), results / "volumes"
    pairs = find_near_duplicates(tables, results / "inventory", volumes_dir, spacing_mm, threshold)
    print(describe_pairs(pairs, threshold))
    draw_pairs(pairs, list_indices(tables, volumes_dir), picture)
    write_table(pairs, out, NEAR_DUPLICATES)


@app.command
def volume_list(
    *,
    results: Results,
    shards: Shards,
    review: Path,
    settings: str,
    outliers: Path | None = None,
) -> None:
    """Build the list of what is trained on, from inventories, preprocess tables and the review alone.

    Writes volume_list, flow, exclusions, segmentations and quality (.parquet) into the results' `manifest`.

    Parameters
    ----------
    review
        What a person decided about volumes (.tsv).
    settings
        The section `manifest`: its settings file, or a configuration file.
    outliers
        The settings file of `manifest.max_outlier_score`.
    """
    from braing3n import manifest
    from braing3n.core.accounting import write_provenance
    from braing3n.core.settings import parse_section, read_settings
    from braing3n.manifest.settings import ManifestSettings
    from braing3n.manifest.tables import ListOutputs, build_volume_list

    options = parse_section(ManifestSettings, settings)
    if outliers:
        options = options.model_copy(update={"max_outlier_score": read_settings(outliers)})
    names = ("volume_list", "flow", "exclusions", "segmentations", "quality")
    outputs = ListOutputs(*(results / "manifest" / f"{name}.parquet" for name in names))
    inventories = list_shards(results / "inventory", shards, ".tsv")
    tables = list_shards(results / "preprocess", shards, ".parquet")
    pairs = results / "manifest" / "near_duplicates.parquet"
    build_volume_list(inventories, tables, results / "volumes", pairs, review, options, outputs)
    inputs = [*inventories, *tables, pairs, review]
    write_provenance(outputs.volumes, "manifest", manifest.STAGE_VERSION, inputs, options.as_json())


@app.command
def quality(*, results: Results, shards: Shards, review: Path, out: Path, outliers: Path) -> None:
    """Put one cohort's volumes on a page, the worst first, for review.

    Parameters
    ----------
    review
        What a person decided about volumes (.tsv).
    out
        The page to write (.html).
    outliers
        The settings file of `manifest.max_outlier_score`.
    """
    from braing3n.core.settings import read_settings
    from braing3n.manifest.quality.page import write_page

    tables = list_shards(results / "preprocess", shards, ".parquet")
    write_page(tables, results / "volumes", review, read_settings(outliers), out)


@app.command
def labels(*, volume_list: VolumeList, ingest_dir: Path, cohorts: Cohorts, out: Path, flow: Path) -> None:
    """Build the table of what is known about each listed volume.

    Parameters
    ----------
    ingest_dir
        Folder of the cohorts' records, and of the scans that their rules leave out.
    out
        The label table to write (.parquet).
    flow
        The accounting of ingest to write (.parquet).
    """
    from braing3n import manifest
    from braing3n.core.accounting import write_provenance
    from braing3n.manifest.tables import build_ingest_flow, build_label_table

    records = [ingest_dir / f"{cohort}.parquet" for cohort in cohorts]
    exclusions = [ingest_dir / f"{cohort}_exclusions.parquet" for cohort in cohorts]
    build_label_table(volume_list, records, out)
    build_ingest_flow(records, exclusions, flow)
    write_provenance(out, "manifest", manifest.STAGE_VERSION, [volume_list, *records])


@app.command
def counts(
    *, volume_list: VolumeList, settings_dir: SettingsDir, cohorts: Cohorts, tolerance: Path, out: Path
) -> None:
    """Compare what each cohort holds with what its file expects, and warn where they differ.

    Parameters
    ----------
    tolerance
        The settings file of `manifest.count_tolerance`.
    out
        The table of counts to write (.parquet).
    """
    from braing3n.cohort.settings import read_cohorts
    from braing3n.core.settings import read_settings
    from braing3n.manifest.counts import count_cohorts, expect_counts

    count_cohorts(
        volume_list, expect_counts(read_cohorts(settings_dir, cohorts)), read_settings(tolerance), out
    )
