"""Tables of the 3D-FID: means of arms, and real people of each side of the split."""

import pandas as pd

from braing3n.fidelity.arms import FID, KID, MEDICALNET, RADIMAGENET
from braing3n.fidelity.contracts import DISTANCES
from braing3n.paper.printed.fidelity import (
    build_fidelity_on_others,
    build_table_2b,
    build_table_8_by_split,
)
from braing3n.paper.results import Results

BLANK = {name: 0 if kind in (int, float) else "" for name, (kind, _) in DISTANCES.items()}
BLANK |= {"reference": "corpus", "quantity": FID, "comparison": "gen-vs-real", "arm": "Sex F (T1)"}


def write(folder, rows):
    (folder / "fidelity").mkdir()
    pd.DataFrame([BLANK | row for row in rows]).to_parquet(folder / "fidelity/distances.parquet")
    return Results(folder)


def test_a_condition_is_the_mean_of_its_arms(tmp_path):
    values = {"Sex F (T1)": 10.0, "Sex M (T1)": 13.0, "Disease HC (T1)": 9.0, "Pooled across all arms": 7.0}
    rows = [{"arm": arm, "value": value} for arm, value in values.items()]
    rows = [row | {"comparison": name} for row in rows for name in ("gen-vs-real", "gen-vs-recons")]
    rows.append(rows[0] | {"arm": "Disease AD (T1)", "reason": "1 samples of this arm"})
    rows.append(rows[0] | {"reference": "training", "value": 1000.0})
    shown = build_table_2b(write(tmp_path, rows)).frame.set_index("Condition")["gen-vs-real | ours"]
    assert (shown["Sex"], shown["Pooled"]) == ("11.5", "7")
    assert shown["Disease"] == "n/a: 1 samples of this arm"
    assert shown["Age"] == "n/a: arm not measured"


def test_table_8_by_split_has_a_row_for_each_kind_of_people_beside_its_own_floor(tmp_path):
    corpus = {"value": 99.0, "floor": 6.8, "floor_low": 5.5, "floor_high": 12.5, "n_floor_people": 8}
    other = corpus | {"reference": "held-out", "value": 7.0, "n_others": 5, "n_people": 13, "n_volumes": 14}
    training = other | {"reference": "training", "n_people": 64, "n_samples": 64}
    kid = other | {"quantity": KID, "value": 0.3, "floor_95": 0.2}
    frame = build_table_8_by_split(write(tmp_path, [corpus, training, other, kid])).frame
    assert len(frame) == 45
    frame = frame.set_index(["Arm", "Real people of"]).loc["Sex F (T1)"]
    value = frame["gen-vs-real | ours (3D-FID)"]
    assert list(value) == ["99", "7", "7"]
    assert frame["Samples"].tolist() == ["0 (few)", "64", "0 (few)"]
    assert frame.loc["training", "Real people / volumes"] == "64 / 14"
    held_out = frame.loc["held-out"]
    assert held_out["Floor, real-vs-real"] == "6.8 [5.5, 12.5] (n 8/5)"
    assert (frame.loc["corpus", "Above the floor"], held_out["Above the floor"]) == ("yes", "no")
    assert (held_out["KID | samples"], held_out["KID | real people"]) == ("0.3", "0.2")
    assert held_out["Real people / volumes"] == "13 (few) / 14"


def test_distances_on_features_of_others_stand_under_their_own_names(tmp_path):
    medicalnet = {"quantity": MEDICALNET, "value": 3.0, "floor": 1.0, "floor_low": 0.5, "floor_high": 2.0}
    rows = [{"value": 99.0}, medicalnet, {"quantity": RADIMAGENET, "reason": "no file"}]
    row = build_fidelity_on_others(write(tmp_path, rows)).frame.set_index("Arm").loc["Sex F (T1)"]
    assert (row["MedicalNet | gen-vs-real"], row["MedicalNet | above the floor"]) == ("3", "yes")
    assert row["RadImageNet | gen-vs-real"] == "n/a: no file"
    assert row["MedicalNet | gen-vs-recons"] == "n/a: arm not measured"
