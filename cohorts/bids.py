"""Any BIDS dataset: name it under `cohorts:` with `kind: bids` and its folder as `raw_dir`."""

from braing3n.cohort import Cohort, Option
from braing3n.ingest.bids import read_bids_records
from braing3n.inventory.bids import find_bids_scans

COHORT = Cohort(
    title="BIDS dataset",
    source="a folder of yours",
    licence="as the dataset says",
    citation="as the dataset says",
    access="as the dataset says",
    options={"accept_unit1": Option(False, "take MP2RAGE's UNIT1 as T1 where a visit has no T1w")},
    find_scans=find_bids_scans,
    read_records=read_bids_records,
)
