"""ADNI's rules that its printed fixture does not show: old exports, alleles, ages, what is left out."""

import pytest

from braing3n.cohort import load_cohort, settle_options
from braing3n.cohort.records import CohortTables

ADNI = load_cohort("adni")
FACTS = {"subject": "901_S_0001", "site": "901", "date": "2006-03-02", "image": "900001", "series": "MPRAGE"}


def read(folder, tables, facts=FACTS, **options):
    """The record of one scan with these tables."""
    for name, text in tables.items():
        (folder / name).write_text(text)
    reader = CohortTables(ADNI, sorted(folder.iterdir()), settle_options("adni", ADNI, options))
    record = reader.read(facts)
    reader.check_codes("adni")
    return record


@pytest.mark.parametrize(
    ("columns", "cells", "dx"),
    [
        *(("DXCHANGE", code, "HC") for code in "179"),
        *(("DXCHANGE", code, "MCI") for code in "248"),
        *(("DXCHANGE", code, "AD") for code in "356"),
        ("DXCURREN", "2", "MCI"),
        ("DXNORM,DXMCI,DXAD", "0,0,1", "AD"),
        ("DXNORM,DXMCI,DXAD", "-4,1,-4", "MCI"),
        ("DIAGNOSIS,DXCHANGE,DXOTHDEM", "3,5,0", "AD"),
        ("DIAGNOSIS,DXCHANGE,DXOTHDEM", "3,5,1", ""),
        ("DIAGNOSIS,DXCHANGE,DXOTHDEM", "2,4,1", "MCI"),
        ("DIAGNOSIS,DXCHANGE,DXOTHDEM", "-4,-4,-4", ""),
    ],
)
def test_diagnoses_of_every_export(tmp_path, columns, cells, dx):
    name = "DXSUM_PDXCONV_ADNIALL.csv"
    table = f"PTID,EXAMDATE,{columns}\n901_S_0001,3/15/2006,{cells}\n"
    assert read(tmp_path, {name: table})["dx"] == dx


def test_the_nearest_row_counts_whatever_column_tells_it(tmp_path):
    rows = "901_S_0001,2006-08-01,1,\n901_S_0001,2006-03-20,,5\n901_S_0001,2005-03-01,2,\n"
    record = read(tmp_path, {"DXSUM.csv": f"PTID,EXAMDATE,DIAGNOSIS,DXCHANGE\n{rows}"})
    assert (record["dx"], record["dx_source"], record["clinical_lag_days"]) == ("AD", "dxsum:dxchange", 18)


def test_the_rule_of_enrolment_and_where_the_visit_is_silent(tmp_path):
    collection = "Image Data ID,Subject,Group,Sex,Age,Visit,Acq Date\nI1,901_S_0001,SMC,F,74,sc,\n"
    tables = {"any name.csv": collection, "DXSUM.csv": "PTID,EXAMDATE,DIAGNOSIS\n901_S_0001,2006-03-15,2\n"}
    assert read(tmp_path, tables)["dx"] == "MCI"
    assert read(tmp_path, tables, dx_rule="enrolment")["dx"] == "HC"
    late = FACTS | {"date": "2007-03-02"}
    assert read(tmp_path, tables, late)["dx_source"] == "collection_subjects:group"


@pytest.mark.parametrize(
    ("table", "apoe"),
    [
        ("PTID,GENOTYPE\n901_S_0001,4/3\n", "E3/E4"),
        ("PTID,GENOTYPE\n901_S_0001,34.0\n", "E3/E4"),
        ("PTID,APGEN1,APGEN2\n901_S_0001,4.0,2.0\n", "E2/E4"),
        ("PTID,APGEN1,APGEN2,GENOTYPE\n901_S_0001,3,3,\n", "E3/E3"),
        ("PTID,APGEN1,APGEN2\n901_S_0001,-4,3\n", ""),
    ],
)
def test_alleles_in_one_column_or_two(tmp_path, table, apoe):
    assert read(tmp_path, {"APOERES.csv": table})["apoe"] == apoe


def test_ages_by_month_and_year_and_from_the_baseline(tmp_path):
    born = {"PTDEMOG.csv": "PTID,VISDATE,PTDOBMM,PTDOBYY\n901_S_0001,2006-02-10,10,1931\n"}
    assert read(tmp_path, born)["age_years"] == pytest.approx(74.38, abs=0.005)
    merged = {"ADNIMERGE.csv": "PTID,EXAMDATE,EXAMDATE_bl,AGE\n901_S_0001,2005-03-02,2005-03-02,73.4\n"}
    (tmp_path / "PTDEMOG.csv").unlink()
    record = read(tmp_path, merged)
    assert record["age_years"] == pytest.approx(74.4, abs=0.005)
    assert record["age_years_source"] == "adnimerge:age+examdate_bl"


def test_scans_of_both_field_strengths_take_their_own_log(tmp_path):
    logs = {
        "MRIMETA.csv": "PTID,EXAMDATE,FIELD_STRENGTH\n901_S_0001,2006-03-02,1.5\n",
        "MRI3META.csv": "PTID,EXAMDATE,FIELD_STRENGTH\n901_S_0001,2006-03-04,3.0\n",
    }
    later = FACTS | {"date": "2006-03-04"}
    assert [read(tmp_path, logs, facts)["field_strength_t"] for facts in (FACTS, later)] == [1.5, 3.0]


def test_known_bad_conversions_are_left_out_unless_wanted(tmp_path):
    facts = FACTS | {"subject": "003_S_6264"}
    table = tmp_path / "DXSUM.csv"

    def is_left_out(visit, **options):
        table.write_text(f"PTID,VISCODE2,EXAMDATE,DIAGNOSIS\n003_S_6264,{visit},2006-03-15,1\n")
        reader = CohortTables(ADNI, [table], settle_options("adni", ADNI, options))
        return "bad conversion" in ADNI.keep(reader.open_visit(facts))

    assert is_left_out("m12")
    assert not is_left_out("m24")
    assert not is_left_out("m12", keep_bad_conversions=True)


@pytest.mark.parametrize(
    ("subject", "series", "is_taken"),
    [
        ("381_S_10123", "MPRAGE", False),
        ("381_S_1012", "MPRAGE", True),
        ("901_S_0001", "MPR__GradWarp__B1_Correction__N3", True),
        ("901_S_0001", "MP-RAGE_REPEAT", True),
        ("901_S_0001", "Sagittal_3D_FLAIR", False),
        ("901_S_0001", "Axial_PD-T2_TSE", False),
        ("901_S_0001", "B1-Calibration_Head", False),
        ("901_S_0001", "Spatially_Normalized__Masked_and_N3_corrected_T1_image", False),
    ],
)
def test_what_is_no_scan_of_ours(subject, series, is_taken):
    assert (ADNI.classify({"subject": subject, "series": series}, {}) == "T1") is is_taken


def test_a_table_with_roster_ids_alone_is_joined_by_the_number(tmp_path):
    table = "RID,VISCODE2,EXAMDATE,DXCHANGE\n1,bl,2006-03-15,2\n4001,bl,2006-03-15,3\n"
    record = read(tmp_path, {"DXSUM_PDXCONV_ADNIALL.csv": table})
    assert (record["dx"], record["visit"]) == ("MCI", "bl")


@pytest.mark.parametrize(
    ("header", "row", "has_day"),
    [
        ("Subject ID,Research Group,Sex,Age,Visit,Study Date", "901_S_0001,LMCI,F,74.1,sc,3/02/2006", True),
        ("Subject ID,Research Group,Sex", "901_S_0001,LMCI,F", False),
    ],
)
def test_a_search_without_the_images_id_is_joined_by_subject_and_day(tmp_path, header, row, has_day):
    record = read(tmp_path, {"idaSearch_11_04_2026.csv": f"{header}\n{row}\n"})
    assert (record["dx"], record["sex"]) == ("MCI", "F")
    assert (record["age_years"] == 74.1, record["visit"]) == ((True, "sc") if has_day else (False, ""))


@pytest.mark.parametrize(
    ("days", "lag_days"),
    [
        (("13-03-2006", "01-09-2007"), 11),
        (("13/03/2006", "05/04/2006"), 11),
        (("13.03.2006", ""), 11),
        (("03/13/2006", "04/05/2006"), 11),
        (("03-04-2006", "05-04-2006"), 32),  # no number above 12: between hyphens the day is first
        (("03/04/2006", "05/04/2006"), 2),  # between slashes the month
    ],
)
def test_days_that_stand_before_months_are_read(tmp_path, days, lag_days):
    rows = "".join(f"901_S_0001,{day},{code}\n" for day, code in zip(days, "32", strict=True))
    record = read(tmp_path, {"DXSUM.csv": f"PTID,EXAMDATE,DIAGNOSIS\n{rows}"})
    assert (record["dx"], record["clinical_lag_days"]) == ("AD", lag_days)


def test_a_row_whose_date_cannot_be_read_is_a_flag(tmp_path):
    rows = "901_S_0001,13-2006,3\n901_S_0001,2006-03-15,2\n"
    record = read(tmp_path, {"DXSUM.csv": f"PTID,EXAMDATE,DIAGNOSIS\n{rows}"})
    assert record["dx"] == "MCI"
    assert "dxsum:examdate: '13-2006' is no date" in record["qc_flag"]
    record = read(tmp_path, {"DXSUM.csv": "PTID,EXAMDATE,DIAGNOSIS\n901_S_0001,,3\n"})
    assert "dxsum:examdate: none of 1 rows has a date" in record["qc_flag"]


@pytest.mark.parametrize(
    "series", ["FreeSurfer_Cross-Sectional_Processing_brainmask", "MPRAGE__Brain_Mask", "brainmask"]
)
def test_a_brain_mask_of_freesurfer_is_no_t1_with_skull(series):
    said = ADNI.classify({"subject": "901_S_0001", "series": series}, {})
    assert said == "-by its name another contrast or a derivative"


def test_a_search_without_subjects_is_no_table_and_stops_nothing(tmp_path):
    assert read(tmp_path, {"idaSearch_11_04_2026.csv": "Modality,Description\nMRI,MPRAGE\n"})["sex"] == ""
