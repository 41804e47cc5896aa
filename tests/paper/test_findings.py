"""What the search found stands on the card, and what it did not find, too."""

import pandas as pd

from braing3n.core.contracts import write_table
from braing3n.manifest.contracts import NEAR_DUPLICATES, QUALITY, SEGMENTATIONS
from braing3n.paper.card.findings import build_pairs, build_quality, build_segmentations
from braing3n.paper.results import Results


def write(folder, contract, rows):
    frame = pd.DataFrame(rows, columns=list(contract))
    write_table(frame, folder / "manifest" / f"{contract.name}.parquet", contract)
    return Results(folder)


def make_pair(number, is_same_file=False, is_same_group=False):
    return {
        "volume_id": f"one_sub-{number:02d}_T1",
        "other_volume_id": f"two_sub-{number:02d}_T1",
        "modality": "T1",
        "correlation": 0.97 - number / 1000,
        "person_id": f"one/{number}",
        "other_person_id": f"two/{number}",
        "is_same_file": is_same_file,
        "is_same_group": is_same_group,
    }


def test_pairs_say_what_was_known_before(tmp_path):
    pairs = [make_pair(0), make_pair(1, is_same_file=True), make_pair(2, is_same_group=True)]
    frame = build_pairs(write(tmp_path, NEAR_DUPLICATES, pairs)).frame
    assert frame["Known before"].tolist() == ["no", "the same file", "one family"]
    assert frame.iloc[0]["Correlation"] == "0.97"


def test_of_many_pairs_the_closest_are_shown_and_all_are_counted(tmp_path):
    table = build_pairs(write(tmp_path, NEAR_DUPLICATES, [make_pair(i) for i in range(60)]))
    assert len(table.frame) == 50
    assert any("50 of 60" in note for note in table.notes)


def test_segmentations_are_counted_with_what_arrived_and_why_not(tmp_path):
    row = {"cohort": "one", "label": "tumour", "path": "x", "raw_path": "y", "reason": ""}
    carried = [row | {"native_ml": ml, "carried_share": 1.0, "volume_id": f"v{ml}"} for ml in (10.0, 30.0)]
    lost = row | {"native_ml": float("nan"), "carried_share": float("nan"), "volume_id": "v", "path": ""}
    lost["reason"] = "a.nii.gz: lies on no grid"
    other = lost | {"label": "lesion", "volume_id": "w"}
    frame = build_segmentations(write(tmp_path, SEGMENTATIONS, [*carried, lost, other])).frame
    by_label = frame.set_index("Label")
    assert (by_label.loc["tumour", "Found"], by_label.loc["tumour", "In SRI24"]) == ("3", "2")
    assert by_label.loc["tumour", "Native volume in ml, median (range)"] == "20.0 (10.0-30.0)"
    assert "lies on no grid" in by_label.loc["tumour", "Left out"]
    assert by_label.loc["lesion", "Share that arrived, median (range)"].startswith("n/a")


def test_nothing_found_and_no_table_are_two_things(tmp_path):
    for contract, build in ((NEAR_DUPLICATES, build_pairs), (SEGMENTATIONS, build_segmentations)):
        assert build(Results(tmp_path / "none")).frame.iloc[0, 0].startswith("n/a: this run has no")
        assert "N = 0" in build(write(tmp_path / contract.name, contract, [])).frame.iloc[0, 0]


def test_outlying_volumes_are_counted_by_modality_and_a_small_group_says_so(tmp_path):
    rows = []
    for n, score in enumerate((5.0, 9.0, 0.5, float("nan"))):
        modality = "T1" if score == score else "FLAIR"
        row = dict.fromkeys(QUALITY, float("nan")) | {"volume_id": f"v{n}", "cohort": "one"}
        row |= dict.fromkeys(("subject_id", "session_id", "run", "reason", "decision", "steps"), "")
        row |= {"modality": modality, "n_compared": 3, "outlier_score": score, "outlier_measure": "noise"}
        rows.append(row | {"status": "excluded" if n == 1 else "kept"})
    frame = build_quality(write(tmp_path, QUALITY, rows)).frame.set_index("Modality")
    assert frame.loc["T1", ["Volumes", "Outlying", "Left out"]].tolist() == ["3", "2", "1"]
    assert frame.loc["T1", "The worst"] == "v1 (noise over median, 9.0)"
    assert frame.loc["FLAIR", "Outlying"].startswith("n/a: too few")
