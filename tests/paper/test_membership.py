"""Membership inference on the page, beside its control."""

import pandas as pd

from braing3n.memorization.contracts import MEMBERSHIP
from braing3n.paper.printed.memorization import build_membership
from braing3n.paper.results import Results


def test_membership_stands_beside_its_control(tmp_path):
    row = {"pool": "T1", "n_members": 30, "n_samples": 5, "n_people": 40}
    rows = [
        row | {"comparison": "samples", "n_others": 10, "auc": 0.61, "low": 0.5, "high": 0.72, "reason": ""},
        row | {"comparison": "members only", "n_others": 0, "reason": "30 volumes against 0"},
    ]
    (tmp_path / "memorization").mkdir()
    pd.DataFrame(rows, columns=list(MEMBERSHIP)).to_parquet(tmp_path / "memorization/membership.parquet")
    shown = build_membership(Results(tmp_path)).frame.iloc[0]
    assert shown["Training against held-out | AUC [95 %]"] == "0.610 [0.500, 0.720]"
    assert shown["Training against held-out | volumes"] == "30 / 10"
    assert shown["Two halves of training | AUC [95 %]"] == "n/a: 30 volumes against 0"
    assert shown["Samples"] == "5"
