"""Membership inference on the page, beside its control, and the audits of samples of MCI and PD."""

import pandas as pd

from braing3n.memorization.contracts import COPIES, MEMBERSHIP, MEMORIZATION
from braing3n.paper.printed.memorization import build_copies, build_membership, build_memorization
from braing3n.paper.results import Results


def test_membership_stands_beside_its_control(tmp_path):
    row = {"pool": "T1", "n_members": 30, "n_samples": 5, "n_people": 40}
    rows = [
        row | {"comparison": "samples", "n_others": 10, "auc": 0.61, "low": 0.5, "high": 0.72, "reason": ""},
        row | {"comparison": "members only", "n_others": 0, "reason": "30 volumes against 0"},
        row | {"comparison": "other arms", "n_others": 10, "auc": 0.9, "low": 0.8, "high": 1.0, "reason": ""},
        row | {"pool": "T2", "comparison": "samples", "n_others": 1, "auc": 0.5, "reason": ""},
    ]
    (tmp_path / "memorization").mkdir()
    pd.DataFrame(rows, columns=list(MEMBERSHIP)).to_parquet(tmp_path / "memorization/membership.parquet")
    frame = build_membership(Results(tmp_path)).frame
    shown, other = (row for _, row in frame.iterrows())
    head = "Training against held-out, samples of MCI and PD | AUC [95 %]"
    assert shown[head] == "0.900 [0.800, 1.000]"
    assert other[head] == "n/a: no samples of MCI or PD in this pool"
    assert shown["Training against held-out | AUC [95 %]"] == "0.610 [0.500, 0.720]"
    assert shown["Training against held-out | volumes"] == "30 / 10"
    assert shown["Two halves of training | AUC [95 %]"] == "n/a: 30 volumes against 0"
    assert shown["Samples"] == "5"


def test_samples_of_mci_and_pd_are_counted_apart_from_the_paper_s_arms(tmp_path):
    base = {"modality": "T1", "person_id": "", "group_id": "", "nearest_id": "v", "threshold": 1.0}
    l2 = base | {"pool": "T1", "percentile": 1.0, "distance": 2.0, "is_below_threshold": False}
    copies = base | {"correlation": 0.1, "is_mirrored": False, "is_flagged": False}
    asked = [("real-real", "v"), ("synthetic-real", "sex-F-0"), ("other-arms-real", "disease-MCI-0")]
    asked.append(("other-arms-real", "disease-PD-0"))
    rows = [{"comparison": comparison, "item_id": name} for comparison, name in asked]
    found = [pd.DataFrame([blank | row for row in rows]) for blank in (l2, copies)]
    found[0].loc[3, "is_below_threshold"] = found[1].loc[3, "is_flagged"] = True
    (tmp_path / "memorization").mkdir()
    tables = (("distances", MEMORIZATION), ("copies", COPIES))
    for frame, (name, contract) in zip(found, tables, strict=True):
        frame[list(contract)].to_parquet(tmp_path / f"memorization/{name}.parquet")
    shown = build_memorization(Results(tmp_path)).frame.iloc[0]
    assert shown["Samples of MCI and PD below"] == "1 of 2"
    assert shown["Samples below the real-real percentile"] == "0 of 1"
    shown = build_copies(Results(tmp_path)).frame.iloc[0]
    assert (shown["Samples of MCI and PD flagged"], shown["Samples flagged"]) == ("1 of 2", "0 of 1")
    found[0][found[0]["comparison"] != "other-arms-real"].to_parquet(
        tmp_path / "memorization/distances.parquet"
    )
    shown = build_memorization(Results(tmp_path)).frame.iloc[0]
    assert shown["Samples of MCI and PD below"] == "n/a: no samples of MCI or PD in this pool"
