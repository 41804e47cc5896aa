"""The NITRC Image Repository's layouts, and COBRE's: people, sessions, labels as in the archives."""

import pytest

from braing3n.cohort import Miniature, list_cohorts, load_cohort

from .trees import list_miniature, run_ingest, write_tree

LAYOUTS = [(kind, path) for kind in list_cohorts() for path in load_cohort(kind).layouts.split()]
ABIDE2 = "SITE_ID,SUB_ID,DX_GROUP,AGE_AT_SCAN ,SEX\nABIDEII-{site},28901,1,12.5,2\n"
ADHD200 = '"ScanDir ID","Site","Gender","Age","DX"\n"19902","5","0","11.2","3"\n'
CORR = "SUBID,SITE,SESSION,SEX,AGE_AT_SCAN_1,HANDEDNESS,RETEST_DESIGN,RETEST_DURATION,RETEST_UNITS\n"
CORR += "29901,BNU_2,Baseline,1,21.3,R,2,#,#\n29901,BNU_2,Retest_1,1,21.3,R,2,42,d\n"
COBRE = ',Current Age,Gender,Handedness,Subject Type,Diagnosis\n"40000",20,Female,Right,Patient,295.3\n'
COBRE += '"40001",41,Male,Both,Control,None\n"40002",33,Male,Left,Patient,311\n'
COBRE += '"40003",Disenrolled,Disenrolled,Disenrolled,Disenrolled,Disenrolled\n'


def read(kind, folder, paths, tables=None, options=None):
    """The outcome of some paths and tables."""
    write_tree(folder / "raw", list_miniature(Miniature("\n".join(paths))), tables or {})
    return run_ingest(kind, folder / "raw", folder, options)


@pytest.mark.parametrize(("kind", "path"), LAYOUTS)
def test_a_layout_that_a_cohort_names_is_recognised(tmp_path, kind, path):
    records = read(kind, tmp_path, [path]).records
    assert records["path"].str.removeprefix(f"{tmp_path}/raw/").tolist() == [path]
    assert records["modality"].tolist() == ["T1"]


@pytest.mark.parametrize(
    ("kind", "path", "tables", "expected"),
    [
        (
            "abide1",
            "KKI_50901/anat/NIfTI/mprage.nii.gz",
            {"Phenotypic_V1_0b.csv": "SITE_ID,SUB_ID,DX_GROUP,AGE_AT_SCAN,SEX\nKKI,50901,1,9.5,2\n"},
            ("0050901", "1", 9.5, "F", "ASD", "KKI", "Philips"),
        ),
        (
            "abide1",
            "UM_50901/SCANS/anat/NIfTI/mprage.nii",
            {"Phenotypic_V1_0b.csv": "SITE_ID,SUB_ID,DX_GROUP,AGE_AT_SCAN,SEX\nUM_2,50901,2,9.5,1\n"},
            ("0050901", "1", 9.5, "M", "HC", "UM_2", "GE"),
        ),
        (
            "abide2",
            "GU_28901_1/anat_1/NIfTI-1/anat.nii.gz",
            {"ABIDEII_Composite_Phenotypic.csv": ABIDE2.format(site="GU_1")},
            ("28901", "1", 12.5, "F", "ASD", "ABIDEII-GU_1", "Siemens"),
        ),
        (
            "abide2",
            "ONRC_28901_1/anat_1/NIfTI-1/anat.nii.gz",
            {"ABIDEII_Composite_Phenotypic.csv": ABIDE2.format(site="OILH_2")},
            ("28901", "1", 12.5, "F", "ASD", "ABIDEII-ONRC_2", "Siemens"),
        ),
        (
            "adhd200",
            "NYU_19902_1/scans/anat_1/NIfTI/rest.nii.gz",
            {"NYU/NYU_phenotypic.csv": ADHD200},
            ("0019902", "1", 11.2, "F", "ADHD", "NYU", "Siemens"),
        ),
        (
            "corr",
            "BNU_29901_baseline/anat_1/NIfTI/anat.nii.gz",
            {"CoRR_AggregatedPhenotypicData.csv": CORR},
            ("0029901", "1", 21.3, "F", "HC", "BNU_2", "Siemens"),
        ),
        (
            "fcon1000",
            "AnnArbor_sub90001/anat_mprage_anonymized/NIfTI/scan_mprage_anonymized.nii.gz",
            {
                "AnnArbor_b_demographics.txt": "sub90001\t1\t21.5\tm\tR\n",
                "Oulu_demographics.txt": "sub90001\t1\t33\tf\n",
            },
            ("AnnArbor_sub90001", "1", 21.5, "M", "HC", "AnnArbor_b", ""),
        ),
        (
            "fcon1000",
            "Beijing_sub90001/anat_mprage_anonymized/NIfTI/scan_mprage_anonymized.nii.gz",
            {"Beijing_Zang_demographics.txt": "sub90001\t1\t21\tf\n"},
            ("Beijing_Zang_sub90001", "1", 21, "F", "HC", "Beijing_Zang", ""),
        ),
        (
            "fcon1000",
            "NewYork_sub90001/anat_mprage_anonymized/NIfTI/scan_mprage_anonymized.nii.gz",
            {"NewYork_a_ADHD_demographics.txt": "sub90001\t1\t21\tf\n"},
            ("NewYork_sub90001", "1", 21, "F", "ADHD", "NewYork_a_ADHD", ""),
        ),
        (
            "hbn",
            "NDARZZ006FF6/acq-HCP_T1w/NIfTI-1/acq-HCP_T1w.nii.gz",
            {"HBN_R11_Pheno.csv": "EID,Sex,Age,EHQ_Total\nNDARZZ006FF6,1,7.5,80\n"},
            ("NDARZZ006FF6", "1", 7.5, "F", "Paediatric", "", "Siemens"),
        ),
        (
            "schizo",
            "COBRE/0040000/session_1/anat_1/mprage.nii.gz",
            {"COBRE/COBRE_phenotypic_data.csv": COBRE},
            ("0040000", "", 20, "F", "SCZ", "COBRE", "Siemens"),
        ),
    ],
)
def test_its_people_have_the_ids_and_labels_of_the_archives(tmp_path, kind, path, tables, expected):
    (row,) = read(kind, tmp_path, [path], tables).records.to_dict("records")
    names = ("subject_id", "session_id", "age_years", "sex", "dx", "site", "vendor")
    assert tuple(row[name] for name in names) == expected


def test_one_person_in_both_layouts_is_one(tmp_path):
    paths = ["KKI_50901/anat/NIfTI/mprage.nii.gz", "KKI/0050901/session_1/anat_1/mprage.nii.gz"]
    outcome = read("abide1", tmp_path, paths)
    assert (len(outcome.records), len(outcome.left_out)) == (1, 1)


def test_two_sites_of_a_city_with_one_number_are_none_and_a_flag(tmp_path):
    path = "Taipei_sub90001/anat_mprage_anonymized/NIfTI/scan_mprage_anonymized.nii.gz"
    tables = {f"Taipei_{site}_demographics.txt": f"sub90001\t1\t{age}\tf\n" for site, age in ("a7", "b8")}
    tables = {
        name: text.replace("\t7\t", "\t27\t").replace("\t8\t", "\t28\t") for name, text in tables.items()
    }
    row = read("fcon1000", tmp_path, [path], tables).records.iloc[0]
    assert (row["sex"], row["site"]) == ("", "Taipei")
    assert row.isna()["age_years"]
    assert "Taipei_sub90001 is in the tables of Taipei_a and Taipei_b" in row["qc_flag"]


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("adhd200", ["NYU_19902_{1,2}/anat_1/NIfTI/rest.nii.gz", "NYU_19903_2/anat_1/NIfTI/rest.nii.gz"]),
        (
            "corr",
            [
                "BNU_19902_{baseline,retest_1}/anat_1/NIfTI/anat.nii.gz",
                "BNU_19903_retest_1/anat_1/NIfTI/anat.nii.gz",
            ],
        ),
    ],
)
def test_of_a_person_the_first_session_is_taken(tmp_path, kind, paths):
    outcome = read(kind, tmp_path, paths)
    assert outcome.records[["subject_id", "session_id"]].to_numpy().tolist() == [
        ["0019902", "1"],
        ["0019903", "2"],
    ]
    assert outcome.left_out["reason"].str.startswith("a later session").tolist() == [True]


def test_the_age_at_a_retest_is_that_of_the_baseline_and_the_time_since(tmp_path):
    paths = ["BNU_29901_{baseline,retest_1}/anat_1/NIfTI/anat.nii.gz"]
    tables = {"CoRR_AggregatedPhenotypicData.csv": CORR}
    records = read("corr", tmp_path, paths, tables, {"all_sessions": True}).records
    assert records["age_years"].round(3).tolist() == [21.3, 21.415]


def test_the_vendor_of_a_sample_whose_number_nobody_knows_is_empty(tmp_path):
    row = read("corr", tmp_path, ["LMU_29901_baseline/anat_1/NIfTI/anat.nii.gz"]).records.iloc[0]
    assert (row["site"], row["vendor"]) == ("LMU", "")
    assert row.isna()["field_strength_t"]


def test_cobres_other_patients_and_those_who_left_have_no_diagnosis(tmp_path):
    path = "COBRE/004000{0,1,2,3}/session_1/anat_1/mprage.nii.gz"
    records = read("schizo", tmp_path, [path], {"COBRE_phenotypic_data.csv": COBRE}).records
    assert records["dx"].tolist() == ["SCZ", "HC", "", ""]
    assert records["dx_detail"].tolist() == ["295.3", "", "311", ""]
    assert records["handedness"].tolist() == ["R", "A", "L", ""]
    assert "a patient whose diagnosis is 311" in records["qc_flag"][2]
