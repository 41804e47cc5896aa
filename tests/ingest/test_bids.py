"""The labels of BIDS trees: codes, visits, sidecars, and cells that are missing or strange."""

import json

import pandas as pd
import pytest

from braing3n.cli import main
from braing3n.cohort import load_cohort
from braing3n.config import CohortSettings
from braing3n.core.contracts import read_table, write_table
from braing3n.ingest.cohort import build_records, read_tsv
from braing3n.ingest.contracts import RECORDS
from braing3n.inventory.bids import find_bids_scans
from braing3n.inventory.build import walk_cohort, write_inventory


@pytest.fixture
def ingest(tmp_path):
    """Write tables, ingest two subjects (one with two sessions), return records by volume."""

    def run(tables, sidecars=None):
        raw = tmp_path / "raw"
        for name in (
            "sub-01/ses-1/anat/sub-01_ses-1_T1w",
            "sub-01/ses-2/anat/sub-01_ses-2_T1w",
            "sub-02/anat/sub-02_T1w",
        ):
            (raw / name).parent.mkdir(parents=True, exist_ok=True)
            (raw / f"{name}.nii.gz").write_bytes(b"scan")
        for name, text in tables.items():
            (raw / name).write_text(text)
        for name, facts in (sidecars or {}).items():
            (raw / name).write_text(json.dumps(facts))
        settings = CohortSettings(kind="bids", raw_dir=str(raw))
        write_inventory("mine", settings, find_bids_scans(raw, "mine"), tmp_path / "inventory")
        out = tmp_path / "records.parquet"
        command = ["ingest", "cohort", "--key", "mine", "--run", "x", "--records", str(out)]
        for name in ("scans", "left_out", "tables"):
            command += [f"--{name.replace('_', '-')}", str(tmp_path / f"inventory/{name}.tsv")]
        command += ["--exclusions", str(tmp_path / "exclusions.parquet")]
        assert main([*command, "--settings", settings.as_json()]) == 0
        return read_table(out, RECORDS).set_index("volume_id")

    return run


def test_people_visits_and_sidecars_become_labels(ingest):
    records = ingest(
        {
            "participants.tsv": "participant_id\tage\tsex\tgroup\tsite\tmmse\n"
            "sub-01\t30\tfemale\tcontrol\tA\t29\nsub-02\t61\tM\tAD\tB\tn/a\n",
            "sub-01/sub-01_sessions.tsv": "session_id\tdays_since_baseline\nses-1\t0\nses-2\t730.5\n",
        },
        {
            "sub-02/anat/sub-02_T1w.json": {
                "Manufacturer": "SIEMENS",
                "MagneticFieldStrength": 3,
                "PatientName": "X",
            }
        },
    )
    assert list(records["age_years"]) == [30, 32, 61]
    assert list(records["sex"]) == ["F", "F", "M"]
    assert list(records["dx"]) == ["HC", "HC", "AD"]
    assert list(records["site"]) == ["A", "A", "B"]
    assert records.loc["mine_sub-02_T1", "vendor"] == "Siemens"
    assert records.loc["mine_sub-02_T1", "field_strength_t"] == 3
    assert records["mmse"].iloc[0] == 29
    assert pd.isna(records["mmse"].iloc[2])
    assert records["dx_source"].iloc[0] == "participants.tsv:group"
    assert "sessions.tsv" in records["age_years_source"].iloc[1]


def test_no_field_but_the_two_is_read_from_a_sidecar(ingest, tmp_path):
    ingest({}, {"sub-02/anat/sub-02_T1w.json": {"Manufacturer": "GE", "PatientName": "Rumpelstilz"}})
    written = [
        path for folder in ("inventory", ".") for path in (tmp_path / folder).glob("*") if path.is_file()
    ]
    assert written
    assert not [path for path in written if b"Rumpelstilz" in path.read_bytes()]


def test_a_lost_row_and_a_strange_code_leave_fields_empty_and_a_flag(ingest):
    records = ingest({"participants.tsv": "participant_id\tage\tsex\nsub-01\told\tx\n"})
    assert len(records) == 3
    assert records["age_years"].isna().all()
    assert set(records["sex"]) == {""}
    assert "'old' is not a plausible age" in records["qc_flag"].iloc[0]
    assert "sub-01: the code 'x' is not known" in records["qc_flag"].iloc[0]
    assert records.loc["mine_sub-02_T1", "qc_flag"] == "participants.tsv: no row of sub-02"


def test_without_tables_there_are_records_with_nothing_known(ingest):
    records = ingest({})
    assert len(records) == 3
    assert set(records["qc_flag"]) == {""}


def test_a_download_of_which_nothing_is_taken_has_empty_accounting(tmp_path):
    (tmp_path / "raw").mkdir()
    settings = CohortSettings(kind="ixi", raw_dir=str(tmp_path / "raw"))
    cohort = load_cohort("ixi")
    write_inventory("ixi", settings, walk_cohort("ixi", cohort, tmp_path / "raw", {}, tmp_path), tmp_path)
    scans, left_out = (read_tsv(tmp_path / f"{name}.tsv") for name in ("scans", "left_out"))
    records = build_records(cohort, "ixi", scans, left_out, [], {}, tmp_path / "raw")
    write_table(records, tmp_path / "records.parquet", RECORDS)
    assert read_table(tmp_path / "records.parquet", RECORDS).empty


def test_an_age_in_classes_is_no_number_of_years(ingest):
    records = ingest(
        {
            "participants.tsv": "participant_id\tage_onset\tage_scan\nsub-01\t1\t4\nsub-02\t1\t31\n",
            "participants.json": json.dumps({"age_scan": {"Levels": {"4": "16-20 years"}}}),
        }
    )
    one, two = records.loc["mine_sub-01_ses-1_T1"], records.loc["mine_sub-02_T1"]
    assert pd.isna(one.age_years)
    assert two.age_years == 31
    assert one.qc_flag == "participants.tsv:age_scan, sub-01: '16-20 years' is not a plausible age"


@pytest.mark.parametrize("name", ["participants.tsv", "participants.json"])
def test_a_table_that_is_a_link_to_nothing_is_a_flag(tmp_path, ingest, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/participants.tsv").write_text("participant_id\tage\nsub-01\t4\n")
    (tmp_path / "raw" / name).unlink(missing_ok=True)
    (tmp_path / "raw" / name).symlink_to("../.git/annex/objects/a")
    flags = ingest({}).loc["mine_sub-02_T1"].qc_flag
    assert f"{name} is a link to nothing and is not read" in flags


def test_dead_scans_tables_and_sidecars_are_flags(tmp_path, ingest):
    anat = tmp_path / "raw/sub-02/anat"
    anat.mkdir(parents=True)
    (anat / "sub-02_T1w.json").symlink_to("../../.git/annex/objects/b")
    (anat.parent / "sub-02_scans.tsv").symlink_to("../.git/annex/objects/c")
    flags = ingest({}).loc["mine_sub-02_T1"].qc_flag
    assert "sub-02_T1w.json is a link to nothing and is not read" in flags
    assert "sub-02_scans.tsv is a link to nothing and is not read" in flags


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2022-12-16T14:44:43.955625Z", "2022-12-16"),
        ("18901014T123300", "1890-10-14"),
        ("13:45:30", ""),
    ],
)
def test_an_acquisition_time_is_a_day_or_a_flag(tmp_path, ingest, text, day):
    (tmp_path / "raw/sub-02").mkdir(parents=True)
    table = {"sub-02/sub-02_scans.tsv": f"filename\tacq_time\nanat/sub-02_T1w.nii.gz\t{text}\n"}
    record = ingest(table).loc["mine_sub-02_T1"]
    assert record.scan_date == day
    assert record.qc_flag == ("" if day else f"scans.tsv:acq_time, sub-02: '{text}' is not a date")


def test_the_column_hand_is_handedness(ingest):
    records = ingest({"participants.tsv": "participant_id\thand\nsub-02\tL\n"})
    assert records.loc["mine_sub-02_T1"].handedness == "L"
