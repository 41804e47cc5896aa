"""The sweep's volumes: one a person, split by group, whoever else is on the list."""

import json

import numpy as np
import pandas as pd
import pytest

from braing3n.config import SweepSettings
from braing3n.core.contracts import read_table, write_table
from braing3n.core.errors import ConfigurationError
from braing3n.sweep.command import app
from braing3n.sweep.volumes import choose_volumes
from braing3n.volumes.contracts import VOLUME_LIST

SETTINGS = SweepSettings(cohorts=("one", "two", "absent"), validation=0.1)


def make_list(n_people=400):
    """People of three cohorts, in families; each with two sessions, the later one first, and a T2."""
    scans = ("2", "", "T1c"), ("1", "2", "T1c"), ("1", "1", "T1c"), ("1", "1", "T2")
    rows = []
    for k in range(n_people):
        person = {"cohort": ("one", "two", "other")[k % 3], "person_id": f"p{k}", "group_id": f"g{k // 6}"}
        for session, run, modality in scans:
            name = f"{person['cohort']}_p{k}_{session}_{run}_{modality}"
            scan = {"volume_id": name, "session_id": session, "run": run, "modality": modality}
            rows.append({**person, **scan, "split": "train"})
    # One person who is in both cohorts.
    twin = {**rows[0], "volume_id": "two_p0", "cohort": "two", "session_id": "0"}
    frame = pd.DataFrame([*rows, twin])
    for name, (kind, _) in VOLUME_LIST.items():
        if name not in frame:
            frame[name] = {str: "", int: 0, float: np.nan}[kind]
    return frame


@pytest.fixture(scope="module")
def volumes():
    return make_list()


def test_one_volume_a_person_the_first_of_the_modality(volumes):
    chosen = choose_volumes(volumes, SETTINGS)
    assert not chosen["person_id"].duplicated().any()
    wanted = volumes[volumes["cohort"] != "other"]
    assert set(chosen["person_id"]) == set(wanted["person_id"])
    assert set(chosen["modality"]) == {"T1c"}
    assert set(zip(chosen["session_id"], chosen["run"], strict=True)) == {("1", "1")}
    assert chosen.set_index("person_id").loc["p0", "volume_id"] == "one_p0_1_1_T1c"


def test_the_split_is_of_groups_with_the_shares_asked_for(volumes):
    chosen = choose_volumes(make_list(6000), SETTINGS)
    assert chosen.groupby("group_id")["split"].nunique().max() == 1
    shares = chosen.drop_duplicates("group_id")["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.20, abs=0.04)
    assert shares["validation"] == pytest.approx(0.08, abs=0.03)
    few = choose_volumes(volumes, SETTINGS).set_index("person_id")["split"]
    assert (chosen.set_index("person_id")["split"].loc[few.index] == few).all(), (
        "nobody moves when others come"
    )
    other = choose_volumes(volumes, SETTINGS.model_copy(update={"seed": 1})).set_index("person_id")["split"]
    assert (other != few).any()


def test_the_corpus_split_is_not_read(volumes):
    moved = volumes.assign(split="test")
    assert choose_volumes(moved, SETTINGS)["split"].equals(choose_volumes(volumes, SETTINGS)["split"])


def test_too_few_people_are_one_sentence(volumes):
    with pytest.raises(ConfigurationError, match=r"sweep: the split '\w+' is empty with one T1c"):
        choose_volumes(volumes[volumes["person_id"] == "p1"], SETTINGS)
    with pytest.raises(ConfigurationError, match="0 people"):
        choose_volumes(volumes, SETTINGS.model_copy(update={"modality": "FLAIR"}))


def test_the_command_writes_a_volume_list(volumes, tmp_path, capsys):
    write_table(volumes, tmp_path / "all.parquet", VOLUME_LIST)
    out = tmp_path / "sweep.parquet"
    arguments = ["choose", "--volume-list", tmp_path / "all.parquet", "--out", out]
    arguments += ["--settings", json.dumps({"cohorts": ["one", "two"], "validation": 0.1})]
    app([str(item) for item in arguments], result_action="return_value")
    assert read_table(out, VOLUME_LIST).equals(choose_volumes(volumes, SETTINGS))
    assert "train" in capsys.readouterr().out
