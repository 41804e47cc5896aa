"""The command of one task: its table, what it refuses, and how the readouts take it in."""

import json
import sys
from pathlib import Path

import pytest

from braing3n.cli import main
from braing3n.core.contracts import read_table, write_table
from braing3n.latents.cache import write_features
from braing3n.manifest.contracts import LABELS
from braing3n.probe.contracts import READOUTS
from braing3n.probe.settings import FinetuneSettings
from braing3n.volumes import dataset

sys.path.insert(0, str(Path(__file__).parent))
import planted

TRAINING = planted.FINETUNE.model_copy(
    update={"optimiser": planted.FINETUNE.optimiser.model_copy(update={"n_epochs": 4})}
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(task): the exit status of the command on the planted volumes."""
    volumes = planted.PlantedVolumes()
    monkeypatch.setattr(dataset, "PackedVolumes", lambda *_: volumes)
    source, labels = planted.start_from(volumes, tmp_path), volumes.table.copy()
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = {str: "", float: float("nan")}.get(kind, 0)
    write_table(labels, tmp_path / "labels.parquet", LABELS)
    ids = labels["volume_id"].to_numpy(dtype=str)
    write_features(ids, source.features, tmp_path / "features_mae.npz")
    options = ["--encoder", str(source.encoder_path), "--features", str(tmp_path / "features_mae.npz")]
    options += ["--volume-list", "list", "--volumes-dir", ".", "--labels", str(tmp_path / "labels.parquet")]
    options += ["--training", TRAINING.as_json()]

    def call(task):
        return main(
            [
                "probe",
                "finetune",
                "--task",
                task,
                *options,
                "--scores",
                str(tmp_path / f"finetuned_{task}.parquet"),
            ]
        )

    call.volumes = volumes
    return call


def test_a_task_gives_a_table_that_the_readouts_take_in(run, tmp_path):
    assert run("sex") == 0
    assert run("mgmt") == 0
    (tmp_path / "chosen.json").write_text("[]")
    (tmp_path / "tasks.json").write_text(json.dumps(["sex", "mgmt"]))
    options = [
        "--encoders",
        "mae",
        "--features-dir",
        str(tmp_path),
        "--labels",
        str(tmp_path / "labels.parquet"),
    ]
    options += ["--readouts", str(tmp_path / "readouts.parquet"), "--chosen", str(tmp_path / "chosen.json")]
    assert main(["probe", "readouts", *options, "--finetuned", str(tmp_path / "tasks.json")]) == 0
    table = read_table(tmp_path / "readouts.parquet", READOUTS).set_index("task")
    assert set(table["readout"]) == {"fine-tuned encoder"}
    own = read_table(tmp_path / "finetuned_sex.parquet", READOUTS).iloc[0]
    assert table.loc["sex", "value"] == own["value"]
    assert table.loc["sex", "n_volumes"] == 80
    assert table.loc["mgmt", "reason"] == "no labels in column mgmt"


def test_what_does_not_fit_is_one_sentence_and_nothing_is_trained(run, tmp_path, capsys):
    assert run("shoe size") == 2
    assert "probe.finetune.tasks: no task 'shoe size'; tasks: disease, sex" in capsys.readouterr().err
    run.volumes.table = run.volumes.table.iloc[::-1]
    assert run("sex") == 2
    assert "its volumes are not those of the label table" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


def test_one_scan_under_two_ids_stops(run, tmp_path, capsys):
    features = planted.start_from(run.volumes, tmp_path).features
    features[40] = features[7]
    write_features(
        run.volumes.table["volume_id"].to_numpy(dtype=str), features, tmp_path / "features_mae.npz"
    )
    assert run("sex") == 2
    assert "have equal features and belong to two people" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


def test_an_unknown_task_stops_with_the_configuration():
    with pytest.raises(ValueError, match="'shoe size' is no task of the paper"):
        FinetuneSettings(tasks=("shoe size",))
