"""A readout stands beside the linear probe of the same encoder and task."""

import numpy as np
import pandas as pd

from braing3n.core.contracts import write_table
from braing3n.paper.printed.rivals_and_checks import build_readouts
from braing3n.paper.results import Results
from braing3n.probe.contracts import READOUTS, SCORES

BLANKS = {str: "", int: 0, float: np.nan}
BASE = {"task": "sex", "title": "Sex (AUC)", "slice": "all", "people": "everyone", "metric": "auc"}


def fill(rows, contract):
    blank = {name: BLANKS[kind] for name, (kind, _) in contract.items()}
    return pd.DataFrame([{**blank, **BASE, **row} for row in rows])[list(contract)]


def test_a_readout_stands_beside_its_linear_probe(tmp_path):
    score = {"source": "paper", "low": 0.6, "high": 0.8}
    scores = [
        {**score, "encoder": "mae", "value": 0.7},
        {**score, "encoder": "mae", "value": 0.9, "slice": "T1"},
        {**score, "encoder": "mae", "value": 0.65, "people": "unseen"},
        {**score, "encoder": "untrained", "value": 0.61},
    ]
    readouts = [
        {"encoder": "mae", "readout": "fine-tuned encoder", "value": 0.85},
        {
            "encoder": "mae",
            "readout": "fine-tuned encoder",
            "metric": "r",
            "task": "age",
            "reason": "no labels",
        },
    ]
    write_table(fill(readouts, READOUTS), tmp_path / "probe" / "readouts.parquet", READOUTS)
    first, second = build_readouts(Results(tmp_path)).frame.to_dict("records")
    assert first["Linear probe [95 %]"] == "n/a: not probed"
    write_table(fill(scores, SCORES), tmp_path / "probe" / "scores.parquet", SCORES)
    first, second = build_readouts(Results(tmp_path)).frame.to_dict("records")
    assert first["Out of fold [95 %]"].startswith("0.850")
    assert first["Linear probe [95 %]"].startswith("0.700")
    assert second["Out of fold [95 %]"] == "n/a: no labels"
    assert second["Linear probe [95 %]"] == "n/a: not probed"
