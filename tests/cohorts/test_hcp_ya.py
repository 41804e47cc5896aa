"""HCP-YA's other package, families, ages without the restricted table, and the sign of the hand."""

import re
from pathlib import Path

import pytest

from braing3n.cohort import load_cohort, settle_options
from braing3n.cohort.records import CohortTables

from .trees import copy_tree, list_miniature, run_ingest, write_tree

HCP = load_cohort("hcp_ya")
FACTS = {"subject": "900001", "modality": "T2", "folder": "", "package": "preprocessed"}


def test_the_unprocessed_package_has_the_printed_volumes(open_case, tmp_path):
    kind, fixture, root, _ = open_case("hcp_ya")
    form = r"(\d+) volumes, (\d+) subject \((\w+), (\w+)\) with the unprocessed"
    n_volumes, n_subjects, *runs = re.search(form, fixture.prose).groups()
    outcome = run_ingest(kind, root / "raw", tmp_path, {"package": "unprocessed"})
    records = outcome.records.sort_values("modality")
    assert (len(records), records["subject_id"].nunique()) == (int(n_volumes), int(n_subjects))
    assert [Path(path).name.split("_")[-1] for path in records["path"]] == [f"{run}.nii.gz" for run in runs]
    assert set(records["raw_space"]) == {"native"}
    assert records["is_defaced"].all()
    assert not records["is_stripped"].any()
    assert records["qc_flag"].eq("").all()
    assert any("MPR2" in path for path in outcome.left_out["path"])


def test_siblings_are_one_group_and_two_people(open_case):
    _, fixture, _, outcome = open_case("hcp_ya")
    families = re.findall(
        r"^(\d{6}),\d\d,(\d+_\d+),", fixture.tables["RESTRICTED_user_1_2_2026_3_6_7.csv"], re.M
    )
    groups = dict(outcome.records[["subject_id", "group_id"]].itertuples(index=False, name=None))
    assert groups == {subject: f"hcp_ya/family-{family}" for subject, family in families}
    assert len(set(groups.values())) == 2
    assert outcome.records["person_id"].nunique() == 3


def test_without_the_restricted_table_ages_are_the_middle_of_their_bins(open_case, tmp_path):
    kind, fixture, root, _ = open_case("hcp_ya")
    copy_tree(root / "raw", tmp_path / "raw", {})
    (tmp_path / "raw" / next(name for name in fixture.tables if name.startswith("RESTRICTED"))).unlink()
    records = run_ingest(kind, tmp_path / "raw", tmp_path).records.drop_duplicates("subject_id")
    assert records["age_years"].tolist() == [28, 23.5, 37]
    assert records["age_years_source"].str.endswith("bin_midpoint").all()
    assert (records["group_id"] == records["person_id"]).all()
    assert records["race"].eq("").all()


@pytest.mark.parametrize(("score", "hand"), [("100", "R"), ("5", "R"), ("0", "A"), ("-1", "L"), ("", "")])
def test_the_sign_of_the_score_is_the_hand(tmp_path, score, hand):
    table = tmp_path / "RESTRICTED_me.csv"
    table.write_text(f"Subject,Age_in_Yrs,Family_ID,Handedness\n900001,27,1_2,{score}\n")
    record = CohortTables(HCP, [table], settle_options("hcp_ya", HCP, {})).read(FACTS)
    assert (record["handedness"], record["handedness_score"]) == (hand, score)


def test_an_export_with_all_columns_is_both_tables(tmp_path):
    table = tmp_path / "HCP_YA_subjects_2026_01_02_03_04_05.csv"
    table.write_text("Subject,Gender,Age,Age_in_Yrs,Family_ID,MMSE_Score\n900001,F,26-30,27,1_2,29\n")
    record = CohortTables(HCP, [table], settle_options("hcp_ya", HCP, {})).read(FACTS)
    assert (record["sex"], record["age_years"], record["mmse"]) == ("F", 27, 29)


def test_the_retest_subset_stays_out(tmp_path):
    write_tree(tmp_path / "raw", list_miniature(HCP.miniature), HCP.miniature.tables)
    outcome = run_ingest("hcp_ya", tmp_path / "raw", tmp_path)
    reasons = {text for path, text in outcome.unused.items() if "HCP_Retest" in path}
    assert reasons == {"the retest subset"}
