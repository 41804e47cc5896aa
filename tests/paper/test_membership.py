"""Membership inference, the contrastive audit and planted copies on the page, and samples of MCI and PD."""

import pandas as pd

from braing3n.longitudinal.contracts import AGEING
from braing3n.memorization.contracts import COPIES, MEMBERSHIP, MEMORIZATION, PLANTED
from braing3n.paper.printed.memorization import (
    build_contrastive,
    build_copies,
    build_membership,
    build_memorization,
    build_planted,
)
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


def write(folder, name, rows, contract):
    (folder / "memorization").mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=list(contract)).to_parquet(folder / f"memorization/{name}.parquet")


def write_ageing(folder, reason):
    (folder / "longitudinal").mkdir()
    blank = {name: {str: "", int: 0, float: float("nan")}[kind] for name, (kind, _) in AGEING.items()}
    row = blank | {"method": "forecast", "quantity": "slope", "reason": reason}
    pd.DataFrame([row]).to_parquet(folder / "longitudinal/ageing.parquet")


def test_forecasts_that_resemble_a_training_volume_are_counted_beside_samples(tmp_path):
    row = {"modality": "T1", "person_id": "p", "group_id": "p", "nearest_id": "v", "threshold": 0.5}
    row |= {"correlation": 0.3, "is_mirrored": False, "is_flagged": False}
    rows = [row | {"comparison": name, "item_id": name} for name in ("real-real", "synthetic-real")]
    rows.append(row | {"comparison": "real-real", "item_id": "t", "modality": "T2"})
    later = row | {"comparison": "forecast-real"}
    rows += [later | {"item_id": "f0"}, later | {"item_id": "f1", "correlation": 0.9, "is_flagged": True}]
    write(tmp_path, "copies", rows, COPIES)
    shown, other = (part for _, part in build_copies(Results(tmp_path)).frame.iterrows())
    assert (shown["Forecasts flagged"], shown["Samples flagged"]) == ("1 of 2", "0 of 1")
    assert shown["Median, most | forecast-real"] == "0.60, 0.90 (n 2)"
    assert other["Forecasts flagged"] == "n/a: no forecasts in this pool"


def test_the_contrastive_detector_has_the_audit_s_columns_under_its_own_name(tmp_path):
    row = {"pool": "T1", "modality": "T1", "nearest_id": "v", "percentile": 1.0, "group_id": "g"}
    row |= {"distance": 0.5, "threshold": 0.3, "is_below_threshold": False}
    rows = [row | {"comparison": "real-real", "item_id": f"r{k}", "person_id": f"r{k}"} for k in range(3)]
    rows += [
        row | {"comparison": "held-out-real", "item_id": f"h{k}", "person_id": f"h{k}"} for k in range(50)
    ]
    copy = row | {"distance": 0.01, "is_below_threshold": True, "person_id": ""}
    rows += [copy | {"comparison": "synthetic-real", "item_id": f"s{k}"} for k in range(4)]
    rows += [row | {"comparison": "synthetic-real", "item_id": "s4", "person_id": ""}]
    alone = row | {"pool": "T2", "modality": "T2", "threshold": float("nan"), "comparison": "real-real"}
    rows += [alone | {"item_id": "t", "person_id": "t"}]
    for k in range(3):
        forecast = {"comparison": "forecast-real", "item_id": f"f{k}", "person_id": "h0"}
        rows += [row | forecast | {"is_below_threshold": k == 1}]
    write(tmp_path, "contrastive", rows, MEMORIZATION)
    write(tmp_path, "distances", rows, MEMORIZATION)
    write_ageing(tmp_path, "2 pairs")
    table = build_contrastive(Results(tmp_path))
    shown, other = (part for _, part in table.frame.iterrows())
    assert table.name == "contrastive"
    assert shown["Threshold"] == "0.30 (1 %)"
    assert shown["Samples below the held-out percentile"] == "4 of 5"
    assert shown["More than expected"] == "yes"
    assert shown["Forecasts below"] == "1 of 3"
    assert other["Forecasts below"] == "n/a: 2 pairs"
    assert other["Threshold"] == "n/a: no held-out volumes in this pool"
    beside = build_memorization(Results(tmp_path)).frame.columns
    assert [name.replace("held-out per", "real-real per") for name in table.frame.columns] == list(beside)


def test_a_detector_that_is_switched_off_says_so(tmp_path):
    write(tmp_path, "contrastive", [], MEMORIZATION)
    assert "memorization.contrastive.is_on is false" in build_contrastive(Results(tmp_path)).frame.iloc[0, 0]


def test_planted_copies_are_a_row_a_disguise_and_a_column_a_detector(tmp_path):
    rows = [("b", "none", 8, 8), ("b", "mirrored", 8, 7), ("b", "held-out people", 30, 1)]
    rows += [("a", "none", 8, 8), ("a", "mirrored", 8, 0), ("a", "held-out people", 30, 0)]
    write(tmp_path, "planted", rows, PLANTED)
    frame = build_planted(Results(tmp_path)).frame
    assert frame.columns.tolist() == ["Copy", "b", "a"]
    assert frame.values.tolist() == [
        ["none", "8 of 8", "8 of 8"],
        ["mirrored", "7 of 8", "0 of 8"],
        ["held-out people", "1 of 30", "0 of 30"],
    ]
    write(tmp_path, "planted", [], PLANTED)
    assert build_planted(Results(tmp_path)).frame.iloc[0, 0] == "n/a: no modality with held-out people"
