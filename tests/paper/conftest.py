"""Small runs of planted people, of which the cards' tables can be checked with a pencil."""

import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import write_table
from braing3n.manifest.contracts import FLOW, LABELS
from braing3n.manifest.counts import count_cohorts
from braing3n.paper.results import Results
from braing3n.volumes.contracts import VOLUME_LIST

BLANKS = {str: "", int: 0, float: np.nan}
COLUMNS = ("cohort", "person_id", "session_id", "modality", "dx", "sex", "age_years", "site", "vendor")
PEOPLE = [
    # IXI: two healthy people at two sites, one with two modalities; whose age is not known is one.
    ("ixi", "p1", "", "T1", "HC", "F", 30.0, "Guys", "Philips"),
    ("ixi", "p1", "", "T2", "HC", "F", 30.0, "Guys", "Philips"),
    ("ixi", "p2", "", "T1", "HC", "M", np.nan, "HH", "Philips"),
    # ADNI: one person with AD at two visits, one person who is HC there.
    ("adni", "p3", "1", "T1", "AD", "M", 71.0, "901", "GE"),
    ("adni", "p3", "2", "T1", "AD", "M", 73.0, "901", "GE"),
    ("adni", "p5", "1", "T1", "HC", "F", 80.0, "901", "GE"),
    # A cohort without a file of its own, a person of whom little is known.
    ("made_up", "p4", "", "T1", "", "", 16.0, "", ""),
]


def fill(rows, contract):
    """Rows as a table with every column of a contract."""
    rows = [dict(row) for row in rows]
    for number, row in enumerate(rows):
        row.setdefault("volume_id", f"v{number}")
        row.setdefault("split", "train")
        row.setdefault("modality", "T1")
        row.setdefault("group_id", row.get("person_id", ""))
        for name, (kind, _) in contract.items():
            row.setdefault(name, BLANKS[kind])
    return pd.DataFrame(rows)


@pytest.fixture
def make_results(tmp_path):
    """A function: rows of labels, flow and expected counts -> a run that holds them."""

    def make(people=(), flow=(), ingest_flow=(), expected=None, tolerance=0.05):
        rows = [row if isinstance(row, dict) else dict(zip(COLUMNS, row, strict=True)) for row in people]
        folder = tmp_path / "results" / "tiny" / "manifest"
        for contract in (LABELS, VOLUME_LIST):
            write_table(fill(rows, contract), folder / f"{contract.name}.parquet", contract)
        columns = ("cohort", "stage", "received", "kept", "excluded", "reason")
        for name, book in (("flow", flow), ("ingest_flow", ingest_flow)):
            if book:
                write_table(pd.DataFrame(book, columns=columns), folder / f"{name}.parquet", FLOW)
        if expected is not None:
            paths = folder / "volume_list.parquet", folder / "counts.parquet"
            count_cohorts(paths[0], expected, tolerance, paths[1])
        return Results(folder.parent)

    return make


@pytest.fixture
def results(make_results):
    """The planted people with the accounting of both stages."""
    flow = [
        ("adni", "preprocess", 4, 3, 1, ""),
        ("adni", "preprocess", 0, 0, 1, "too small"),
        ("ixi", "preprocess", 3, 3, 0, ""),
        ("made_up", "preprocess", 1, 1, 0, ""),
    ]
    ingest_flow = [
        ("adni", "ingest", 6, 4, 2, ""),
        ("adni", "ingest", 0, 0, 2, "a repeat"),
        ("ixi", "ingest", 5, 3, 2, ""),
        ("ixi", "ingest", 0, 0, 2, "a repeat"),
        ("made_up", "ingest", 1, 1, 0, ""),
    ]
    return make_results(PEOPLE, flow, ingest_flow)
