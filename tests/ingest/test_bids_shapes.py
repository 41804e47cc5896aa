"""Tables of real BIDS datasets, rebuilt with invented values: each label against a reading of its own.

The reading knows each dataset's columns and words, as one who looked at it, and shares no code with ours.
"""

import json
from dataclasses import dataclass, field

import pandas as pd
import pytest

from braing3n.ingest.bids import read_bids_records


@dataclass(frozen=True)
class Shape:
    """Files of a dataset, and how somebody who looked at them reads them: our field -> column and words.

    odd: (subject, our field) -> what the flag of such a cell must quote; the label is then empty.
    """

    table: str
    age: str = "age"
    sex: tuple[str, dict[str, str]] = ("sex", {"M": "M", "F": "F"})
    dx: tuple[str, dict[str, str]] | None = None
    hand: tuple[str, dict[str, str]] | None = None
    mmse: str = ""
    key: str = "participant_id"
    session: str = ""  # the column of sessions, or the one session of all scans
    description: str = ""
    odd: dict[tuple[str, str], str] = field(default_factory=dict)


LEVELS_4504 = {"Group": {"Levels": {"A": "Alzheimer Disease Group", "F": "Frontotemporal Dementia Group"}}}
LEVELS_4504["Group"]["Levels"]["C"] = "Healthy Group"
LEVELS_4215 = {
    "age": {"Description": "Age at first visit in years. n/a: no response", "Units": "Years"},
    "sex": {"Levels": {"male": "Male", "female": "Female", "n/a": "No response, meaning it was skipped"}},
    "handedness": {
        "Levels": {
            "left": "Left-handedness (Laterality Quotient between -100 and -40)",
            "ambidextrous": "Ambidexterity (Laterality Quotient between -40 and 40)",
            "right": "Right-handedness (Laterality Quotient between 40 and 100)",
        }
    },
}
LEVELS_2748 = """{"gender": {"Levels": {"M": "male", "F": "female"}},
 "group": {"Levels": {"depr": "patients with depression", "control": "healthy volunteers"}},
}"""  # with the comma at the end that the real one has
WORDS = {"male": "M", "female": "F"}
SHAPES = {
    "ds000001": Shape(
        "participant_id\tsex\tage\nsub-01\tF\t31\nsub-02\tM,\t42\nsub-03\tM\t19\n",
        odd={("02", "sex"): "'M,'"},
    ),
    "ds000030": Shape(
        "participant_id\tdiagnosis\tage\tgender\tbart\tT1w\tScannerSerialNumber\n"
        "sub-10001\tCONTROL\t21\tF\t1\t1\t35343.0\nsub-50002\tSCHZ\t47\tM\tn/a\t1\t35426.0\n"
        "sub-60003\tBIPOLAR\t33\tF\t1\t1\t35343.0\nsub-70004\tADHD\t29\tM\t1\tn/a\t35343.0\n",
        sex=("gender", {"M": "M", "F": "F"}),
        dx=("diagnosis", {"CONTROL": "HC", "SCHZ": "SCZ", "ADHD": "ADHD"}),
        odd={("60003", "dx"): "'BIPOLAR'"},
    ),
    "ds000117": Shape(
        "participant_id\tage\tsex\tfirst_ses\nsub-01\t33\tM\tmeg\nsub-14\t27\tF\tmri\n"
        "sub-emptyroom\tn/a\tn/a\tn/a\n",
        session="mri",
    ),
    "7t_trt": Shape(
        "subject_id\tsex\tage_at_first_scan_years\tnumber_of_scans_before\thandedness\n"
        "sub-01\tF\t28\t7\t100\nsub-02\tM\t24\t6\t-75\nsub-03\tM\t31\t0\t20\n",
        age="age_at_first_scan_years",
        hand=("handedness", {"100": "R", "-75": "L", "20": "A"}),
        key="subject_id",
    ),
    "ds002748": Shape(
        "participant_id\tage\tgender\tgroup\tIQ_Raven\tICD-10\tEdinburgh\n"
        "sub-01\t30\tF\tdepr\t101\tF32.0\t85\nsub-52\t44\tM\tcontrol\t112\tn/a\tn/a\n",
        sex=("gender", {"M": "M", "F": "F"}),
        dx=("group", {"control": "HC"}),
        description=LEVELS_2748,
        odd={("01", "dx"): "'depr'"},
    ),
    "ds003416": Shape(
        "participant_id\tsession_id\tage\tsex\nsub-cI01\tses-1\t24\tM\nsub-cI01\tses-2\t25\tM\n"
        "sub-cI02\tses-1\t31\tF\n",
        session="session_id",
    ),
    "ds004215": Shape(
        "participant_id\tage\tsex\thandedness\tMRI\nsub-ON00001\t58\tfemale\tright\t1\n"
        "sub-ON00002\t24\tmale\tleft\t1\nsub-ON00003\tn/a\tn/a\tambidextrous\t1\n",
        sex=("sex", WORDS),
        hand=("handedness", {"right": "R", "left": "L", "ambidextrous": "A"}),
        description=json.dumps(LEVELS_4215),
    ),
    "ds004504": Shape(
        "participant_id\tGender\tAge\tGroup\tMMSE\nsub-001\tF\t61\tA\t17\nsub-037\tM\t70\tC\t30\n"
        "sub-066\tM\t55\tF\t21\n",
        age="Age",
        sex=("Gender", {"M": "M", "F": "F"}),
        dx=("Group", {"A": "AD", "C": "HC"}),
        mmse="MMSE",
        description=json.dumps(LEVELS_4504),
        odd={("066", "dx"): "'F'"},
    ),
    "ds004856": Shape(
        "participant_id\tAge\tSex\tRace\tHandedness\nsub-101\t45.2\tf\tw\tR\nsub-102\t67.9\tm\tb\tL\n",
        age="Age",
        sex=("Sex", {"f": "F", "m": "M"}),
        hand=("Handedness", {"R": "R", "L": "L"}),
    ),
    "ds005551": Shape(
        "participant_id\tage\tsex\nsub-001\t25\tF\nsub-002\t89+\tM\n",
        description='{\n\t"age": {"Units": "years"},\n\t"sex": {"Levels": {"M": "male", "F": "female"}}\n}\n',
        odd={("002", "age_years"): "'89+'"},
    ),
    "ds007329": Shape(
        "participant_id\tage\tsex\theadcase\tbudapest\nsub-sid000005\t27\tF\tTrue\tFalse\n"
        "sub-sid000007\t22\tM\tFalse\tTrue\n",
        description='{"sex": {"Description": "M male, F female"}, "age": {"Description": "in years"}}',
    ),
}


def read_by_eye(shape):
    """(subject, session) -> our fields, from the table as pandas reads it."""
    lines = [line.split("\t") for line in shape.table.strip().split("\n")]
    table = pd.DataFrame(lines[1:], columns=lines[0])
    seen = {}
    for row in table.to_dict("records"):
        subject = row[shape.key].removeprefix("sub-")
        session = row.get(shape.session, shape.session).removeprefix("ses-")
        number = pd.to_numeric(row[shape.age], errors="coerce")
        record = {"age_years": None if pd.isna(number) else float(number)}
        for name, how in (("sex", shape.sex), ("dx", shape.dx), ("handedness", shape.hand)):
            record[name] = how[1].get(row[how[0]], "") if how else ""
        record["mmse"] = float(row[shape.mmse]) if shape.mmse else None
        seen[subject, session] = record
    return seen


@pytest.mark.parametrize("name", SHAPES)
def test_each_label_of_a_real_datasets_table_is_what_somebody_reads_there(tmp_path, name):
    shape = SHAPES[name]
    (tmp_path / "participants.tsv").write_text(shape.table)
    if shape.description:
        (tmp_path / "participants.json").write_text(shape.description)
    seen = read_by_eye(shape)
    scans = []
    for subject, session in seen:
        stem = "_".join(filter(None, (f"sub-{subject}", session and f"ses-{session}")))
        path = tmp_path / stem.replace("_", "/") / "anat" / f"{stem}_T1w.nii.gz"
        scans.append([stem, subject, session, path.as_posix()])
    scans = pd.DataFrame(scans, columns=["volume_id", "subject_id", "session_id", "path"])
    records = read_bids_records(tmp_path, "x", scans).to_dict("records")
    for (subject, _), expected, record in zip(seen, seen.values(), records, strict=True):
        found = {key: None if record[key] != record[key] else record[key] for key in expected}
        assert found == expected
        for key in expected:
            quoted = shape.odd.get((subject, key))
            assert quoted is None or quoted in record["qc_flag"]
        if not any(who == subject for who, _ in shape.odd):
            assert "participants.tsv" not in record["qc_flag"]


def test_a_scans_table_with_a_column_that_has_no_name_is_read(tmp_path):
    # As a public converter of ADNI writes it.
    folder = tmp_path / "sub-1" / "ses-1"
    folder.mkdir(parents=True)
    text = "\tfilename\tscan_id\tmri_field\tacq_time\n0\tanat/sub-1_ses-1_T1w.nii.gz\t9\t3.0\t2011-06-02\n"
    (folder / "sub-1_ses-1_scans.tsv").write_text(text)
    path = (folder / "anat" / "sub-1_ses-1_T1w.nii.gz").as_posix()
    scans = pd.DataFrame([["a", "1", "1", path]], columns=["volume_id", "subject_id", "session_id", "path"])
    assert read_bids_records(tmp_path, "x", scans)["scan_date"].tolist() == ["2011-06-02"]


def test_a_sidecar_in_windows_latin_is_read(tmp_path):
    folder = tmp_path / "sub-1" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-1_T1w.json").write_bytes('{"Note": "90°", "Manufacturer": "GE"}'.encode("cp1252"))
    path = (folder / "sub-1_T1w.nii.gz").as_posix()
    scans = pd.DataFrame([["a", "1", "", path]], columns=["volume_id", "subject_id", "session_id", "path"])
    record = read_bids_records(tmp_path, "x", scans).iloc[0]
    assert (record["vendor"], record["qc_flag"]) == ("GE", "")


def test_columns_that_nobody_reads_as_age_or_sex_are_flagged(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage_of_onset\tsex_code\nsub-1\t40\t2\n")
    path = (tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz").as_posix()
    scans = pd.DataFrame([["a", "1", "", path]], columns=["volume_id", "subject_id", "session_id", "path"])
    record = read_bids_records(tmp_path, "x", scans).iloc[0]
    assert record["age_years"] != record["age_years"]
    assert "the column 'age_of_onset' is not read as age" in record["qc_flag"]
    assert "the column 'sex_code' is not read as sex" in record["qc_flag"]


def test_rows_without_an_id_are_flagged(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t40\n\t50\n")
    path = (tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz").as_posix()
    scans = pd.DataFrame([["a", "1", "", path]], columns=["volume_id", "subject_id", "session_id", "path"])
    record = read_bids_records(tmp_path, "x", scans).iloc[0]
    assert record["age_years"] == 40
    assert "participants.tsv: 1 rows name nobody" in record["qc_flag"]


def test_an_animal_is_flagged_and_another_sex_is_empty(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tAge\tsex\tspecies\nsub-1\t3\to\tmus musculus\n"
    )
    path = (tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz").as_posix()
    scans = pd.DataFrame([["a", "1", "", path]], columns=["volume_id", "subject_id", "session_id", "path"])
    record = read_bids_records(tmp_path, "x", scans).iloc[0]
    assert (record["sex"], record["qc_flag"]) == (
        "",
        "participants.tsv:species, sub-1: the species 'mus musculus' is not human",
    )
