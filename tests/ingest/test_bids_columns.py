"""Own columns of participants.tsv: named in the configuration, read as they are, probed."""

import json

import numpy as np
import pandas as pd
import pytest

from braing3n.config import ProbeSettings
from braing3n.core.contracts import check_table
from braing3n.core.errors import ConfigurationError
from braing3n.ingest.bids_columns import check_columns, read_columns
from braing3n.launch import start_run
from braing3n.probe.contracts import COLUMNS
from braing3n.probe.plan import plan_probes
from braing3n.probe.tasks import list_tasks

TABLE = "participant_id\tgroup\tIQ\nsub-01\t1\t101\nsub-02\t2\thigh\nsub-03\t2\t99.5\n"
KINDS = {"group": "classification", "IQ": "regression", "dx_detail": "classification"}


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "participants.tsv").write_text(TABLE)
    levels = {"group": {"Levels": {"1": "patient", "2": "fibromyalgia"}}}
    (tmp_path / "participants.json").write_text(json.dumps(levels))
    return tmp_path


@pytest.fixture
def tables():
    """A volume list and a label table of three people of a BIDS cohort and one of another."""
    subjects = ["01", "02", "03", "9"]
    cohorts = ["mine", "mine", "mine", "other"]
    ids = [f"{cohort}_sub-{subject}_T1" for cohort, subject in zip(cohorts, subjects, strict=True)]
    volumes = pd.DataFrame({"volume_id": ids, "cohort": cohorts, "subject_id": subjects, "session_id": ""})
    return volumes, volumes.assign(dx_detail=["a", "b", "", "c"])


def test_named_columns_are_read_as_they_are(raw, tables, tmp_path):
    table, flags = read_columns(*tables, KINDS, {"mine": raw, "other": tmp_path / "none"})
    check_table(table, COLUMNS, "test")
    assert table["own:group"].tolist() == ["patient", "fibromyalgia", "fibromyalgia", ""]
    np.testing.assert_array_equal(table["own:IQ"], [101, np.nan, 99.5, np.nan])
    assert table["own:dx_detail"].tolist() == ["a", "b", "", "c"]
    assert flags == ["mine: participants.tsv:iq, sub-02: 'high' is not a number"]


def test_a_named_column_is_that_of_the_visit(tmp_path):
    rows = "participant_id\tsession_id\tIQ\nsub-01\tses-1\t100\nsub-01\tses-2\t110\n"
    (tmp_path / "participants.tsv").write_text(rows)
    volumes = pd.DataFrame({"volume_id": ["b", "a"], "cohort": "mine", "subject_id": "01"})
    volumes = volumes.assign(session_id=["2", "1"])
    table, flags = read_columns(volumes, volumes, {"IQ": "regression"}, {"mine": tmp_path})
    assert table["own:IQ"].tolist() == [110, 100]
    assert flags == []


def test_a_misspelled_column_is_said_before_the_dag(raw, tmp_path, monkeypatch, capsys):
    check_columns(KINDS, {"mine": raw})
    with pytest.raises(ConfigurationError, match="has a column 'grup'; did you mean 'group'"):
        check_columns({"grup": "classification"}, {"mine": raw})
    monkeypatch.chdir(tmp_path)
    scan = tmp_path / "heads/sub-01/anat/sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"scan")
    data = {"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "heads"}}}
    data["probe"] = {"columns": {"shoe_size": "regression"}}
    with pytest.raises(SystemExit):
        start_run(data, True, ["preprocess", "-n"])
    assert "no participants.tsv has a column 'shoe_size'; its columns:" in capsys.readouterr().err


def test_named_columns_are_tasks_with_every_value_a_class():
    people = [f"p{n}" for n in range(40)]
    labels = pd.DataFrame({"person_id": people, "group_id": people, "volume_id": people, "modality": "T1"})
    labels = labels.assign(split="train", dx="", site="", session_id="", subject_id=people, cohort="mine")
    labels["own:group"] = ["patient", "fibromyalgia"] * 20
    labels["own:IQ"] = np.arange(40.0)
    settings = ProbeSettings(columns={"group": "classification", "IQ": "regression"})
    tasks = {task.key: task for task in list_tasks(labels, settings.columns)}
    assert tasks["own:group"].title == "group (own column, AUC)"
    probes = plan_probes(labels, settings, "own")
    ready = {probe.task.key: probe for probe in probes if probe.slice == "all" and not probe.reason}
    assert set(ready["own:group"].classes) == {"patient", "fibromyalgia"}
    assert ready["own:IQ"].units["target"].max() == 39
