"""Whether samples help, on the page, with the audits' counts of the same samples beside it."""

import pandas as pd

from braing3n.control.contracts import USEFULNESS
from braing3n.memorization.contracts import MEMORIZATION
from braing3n.paper.printed.usefulness import build_usefulness
from braing3n.paper.results import Results


def test_the_gain_stands_beside_the_price(tmp_path):
    row = {"task": "HC vs AD", "rare": "AD", "arm": "disease-AD", "n_rare": 4, "n_held_out_people": 30}
    row["learner"] = "probe"
    row |= {
        "auc": 0.8,
        "low": 0.7,
        "high": 0.9,
        "gain": 0.1,
        "gain_low": 0.05,
        "gain_high": 0.15,
        "reason": "",
    }
    rows = [row | {"trained_on": name, "n_samples": 16} for name in ("real", "synthetic", "both")]
    rows.append(row | {"trained_on": "both, wrong class", "reason": "no samples of the common class"})
    rows.append(row | {"learner": "network", "trained_on": "both", "gain": -0.2, "n_samples": 16})
    audit = {
        "comparison": "synthetic-real",
        "pool": "all",
        "threshold": 1.0,
        "percentile": 1.0,
        "modality": "T1",
    }
    audits = [audit | {"item_id": f"disease-AD-{k:04d}", "is_below_threshold": k == 0} for k in range(3)]
    audits.append(audit | {"item_id": "disease-HC-0000", "is_below_threshold": True})
    other = {"comparison": "other-arms-real", "is_below_threshold": True}
    audits.append(audit | other | {"item_id": "disease-AD-0004"})
    tables = {"control/usefulness": (rows, USEFULNESS), "memorization/distances": (audits, MEMORIZATION)}
    for name, (lines, contract) in tables.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir()
        blank = {name: 0 if kind in (int, float) else "" for name, (kind, _) in contract.items()}
        pd.DataFrame([blank | line for line in lines]).to_parquet(path)
    shown, network = (row for _, row in build_usefulness(Results(tmp_path)).frame.iterrows())
    assert (shown["Learner"], network["Learner"]) == ("probe", "network")
    assert network["Gain of both over real"].startswith("-0.200")
    assert shown["AUC [95 %] | both"] == "0.800 [0.700, 0.900]"
    assert shown["AUC [95 %] | both, wrong class"] == "n/a: no samples of the common class"
    assert shown["Gain of both over real"] == "0.100 [0.050, 0.150]"
    assert (shown["Samples"], shown["Held-out people"]) == ("16", "30")
    assert shown["Flagged by L2"] == "2 of 4"
    assert shown["Flagged as copies"].startswith("n/a: this run has no ")
