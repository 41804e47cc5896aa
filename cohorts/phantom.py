"""Phantom heads with planted effects, written as a raw BIDS tree from packaged templates."""

from pathlib import Path

from braing3n.cohort import Cohort
from braing3n.core.settings import ResourceSettings
from braing3n.ingest.bids import read_bids_records
from braing3n.inventory.bids import find_bids_scans


def write_phantoms(raw_dir: Path, options: dict, resources: ResourceSettings) -> None:
    """Write the raw tree, where it is not there yet; the templates come by digest."""
    from braing3n.core.resources import fetch
    from braing3n.phantoms.miniature import write_miniature

    write_miniature(raw_dir, options, fetch("brain-templates", resources), fetch("head-template", resources))


COHORT = Cohort(
    title="Phantom",
    source="made by braing3n from the ICBM152 and pydeface templates",
    licence="ICBM 152 licence and MIT (templates)",
    citation="Fonov et al. 2011, NeuroImage 54 (1); pydeface",
    access="made by the run itself",
    find_scans=find_bids_scans,
    read_records=read_bids_records,
    write_miniature=write_phantoms,
)
