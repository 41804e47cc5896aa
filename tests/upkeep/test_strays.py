"""A person who withdraws: what is left of them is reported, and removed on request; nothing else is."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from braing3n.cli import main
from braing3n.core.bids import derivative_path, volume_id
from braing3n.core.contracts import write_table
from braing3n.core.scratch import name_half_written
from braing3n.manifest.withdrawn import count_withdrawn, describe_weights
from braing3n.training import write_weights
from braing3n.volumes.contracts import VOLUMES

KINDS = ("preproc", "mask", "xfm", "inverse_xfm", "picture")
RESULTS = "results/x"
# Pictures and decoded volumes of people, as a run and its killed jobs leave them.
DERIVED = (
    "tokenizer/reconstructions.png",
    "longitudinal/figure_4.png",
    "longitudinal/forecasts.npz",
    "longitudinal/decoded.npz",
    "longitudinal/.forecasts-0123456789abcdef/tokens.npy",
    "control/counterfactuals.png",
    "control/decoded.npz",
    "control/changed.npz",
    "fidelity/decoded.npz",
    "memorization/nearest.png",
    "memorization/.contrastive-0123456789abcdef/L2 of voxels of 8 mm.npy",
    "paper/index.html",
)


def write_visit(store, cohort, subject):
    """The files of a preprocessed visit, with the sidecar that records them."""
    paths = [derivative_path(store, cohort, subject, kind=kind) for kind in KINDS]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text("x")
    sidecar = {"Key": "k", "Files": {path.name: "0" for path in paths}, "Volumes": []}
    derivative_path(store, cohort, subject, kind="sidecar").write_text(json.dumps(sidecar))


def write_shard(folder, number, ids):
    """A packed shard: its index and its array."""
    rows = [
        {"volume_id": name, "row": row, "crc32": 1, "far_voxels": "", "n_brain_voxels": 1}
        for row, name in ids
    ]
    frame = pd.DataFrame(rows, columns=list(VOLUMES)).fillna({"mean": 0.0, "deviation": 1.0})
    frame = frame.astype({"mean": float, "deviation": float, "cropped_brain_share": float})
    write_table(frame, folder / f"shard-{number:03d}.parquet", VOLUMES)
    (folder / f"shard-{number:03d}.b2nd").write_text("x")


def write_training(folder, ids, published):
    """A training's folder as it is left behind, and its weights as the workflow has them."""
    record = {
        "stage": folder.parent.parent.name,
        "stage_version": 1,
        "inputs": [["volume_list.parquet", ids[-1]]],
    }
    (folder / "tensorboard").mkdir(parents=True)
    (folder / "volumes.txt").write_text("\n".join(ids))
    (folder / "run.json").write_text(json.dumps(record))
    for name in ("examples.png", "tensorboard/events.1"):
        (folder / name).write_text("x")
    for path in (folder / "weights.safetensors", published):
        write_weights(path, {"a": torch.zeros(1)}, "MaskedAutoencoder", record)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of two cohorts of three people, as files."""
    monkeypatch.chdir(tmp_path)
    results, ids = tmp_path / RESULTS, {}
    for cohort in ("mine", "old"):
        for subject in ("01", "02", "03"):
            scan = tmp_path / cohort / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz"
            scan.parent.mkdir(parents=True)
            scan.write_bytes(b"scan")
            write_visit(results / "preprocess", cohort, subject)
            ids[cohort, subject] = volume_id(cohort, subject, "", "", "T1")
        own = [ids[cohort, subject] for subject in ("01", "02", "03")]
        write_shard(results / "volumes" / cohort, 0, list(enumerate(own[:2])))
        write_shard(results / "volumes" / cohort, 1, list(enumerate(own[2:])))
        page = "".join(f"<article id='{name}'>" for name in own)
        (results / "preprocess" / cohort / "quality.html").write_text(page)
    everybody = list(ids.values())
    latents = results / "latents"
    latents.mkdir()
    np.savez(latents / "features_mae.npz", volume_id=np.array(everybody), features=np.zeros((6, 2)))
    np.save(latents / "tokens.npy", np.zeros((6, 2)))
    write_training(results / "pretrain/checkpoints/abc", everybody, results / "pretrain/mae.safetensors")
    others = [name for name in everybody if name.startswith("mine") and "02" not in name]
    write_training(results / "tokenizer/checkpoints/def", others, results / "tokenizer/tokenizer.safetensors")
    for name in (*DERIVED, "pretrain/loss.png", "diffusion/samples.npz", "memorization/memorization.parquet"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("x")
    cohorts = {key: {"kind": "bids", "raw_dir": key, "n_shards": 2} for key in ("mine", "old")}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"run": "x", "cohorts": cohorts}))
    return tmp_path


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def withdraw(run):
    shutil.rmtree(run / "mine/sub-02")


def test_a_run_of_whom_nobody_withdrew_has_no_strays(run, capsys):
    before = list_files(run / RESULTS)
    assert main(["strays", "remove", "--config", "x.yaml", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert before <= list_files(run / RESULTS)
    main(["strays", "list", "--config", "x.yaml"])
    assert capsys.readouterr().out == "results/x: no file shows people whom no inventory names.\n"


def test_what_shows_a_withdrawn_person_is_removed_and_nothing_else(run, capsys):
    main(["strays", "list", "--config", "x.yaml"])
    capsys.readouterr()
    before = list_files(run / RESULTS)
    withdraw(run)
    assert main(["strays", "remove", "--config", "x.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "mine/sub-02" in printed
    assert "trained on mine/sub-02" in printed
    assert before <= list_files(run / RESULTS), "a dry run removes nothing"
    assert main(["strays", "remove", "--config", "x.yaml", "--yes"]) == 0
    gone = before - list_files(run / RESULTS)
    stem = "preprocess/mine/sub-02/anat/sub-02"
    assert gone == {
        f"{stem}_space-SRI24_desc-preproc_T1w.nii.gz",
        f"{stem}_space-SRI24_desc-brain_mask.nii.gz",
        f"{stem}_from-T1w_to-SRI24_mode-image_xfm.mat",
        f"{stem}_from-SRI24_to-T1w_mode-image_xfm.mat",
        f"{stem}_space-SRI24_desc-quality_T1w.jpg",
        f"{stem}_space-SRI24_desc-preproc.json",
        "preprocess/mine/quality.html",
        "volumes/mine/shard-000.parquet",
        "volumes/mine/shard-000.b2nd",
        "latents/features_mae.npz",
        "latents/tokens.npy",
        "pretrain/checkpoints/abc/examples.png",
        "pretrain/checkpoints/abc/tensorboard/events.1",
        *DERIVED,
    }
    assert not (run / RESULTS / "preprocess/mine/sub-02").exists()


def test_what_a_killed_process_left_beside_shards_and_tables_is_a_stray(run, capsys):
    """Of anybody: who is in half a shard, nobody can say."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = []
    for name in ("volumes/mine/shard-000.b2nd", "manifest/manifest.parquet", "latents/mae/tokens.npy"):
        ours = name_half_written(run / RESULTS / name)
        ours.parent.mkdir(parents=True, exist_ok=True)
        left.append(ours.with_name(ours.name.replace(f"{os.getpid():06x}", f"{ended.pid:06x}")))
        left[-1].write_text("x")
        ours.write_text("a process that still runs")
    assert main(["strays", "list", "--config", "x.yaml"]) == 0
    printed = capsys.readouterr().out
    assert sorted(line.split("\t")[1] for line in printed.splitlines()) == sorted(
        path.relative_to(run).as_posix() for path in left
    )


def test_without_a_yes_nothing_is_removed(run, capsys, monkeypatch):
    withdraw(run)
    before = list_files(run / RESULTS)
    assert main(["strays", "remove", "--config", "x.yaml"]) == 2
    assert "nothing is removed without --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["strays", "remove", "--config", "x.yaml"]) == 0
    assert before <= list_files(run / RESULTS)


def test_files_of_others_stay_and_are_named(run, capsys):
    withdraw(run)
    mine = run / RESULTS / "preprocess/mine/sub-02/anat/notes.txt"
    mine.write_text("years of work")
    assert main(["strays", "remove", "--config", "x.yaml", "--yes"]) == 0
    assert mine.read_text() == "years of work"
    assert "notes.txt\tbraing3n did not write it" in capsys.readouterr().out


def test_a_cohort_that_is_no_longer_configured_is_stray_as_a_whole(run):
    main(["strays", "list", "--config", "x.yaml"])
    config = yaml.safe_load((run / "x.yaml").read_text())
    del config["cohorts"]["old"]
    (run / "x.yaml").write_text(yaml.safe_dump(config))
    assert main(["strays", "remove", "--config", "x.yaml", "--yes"]) == 0
    left = [name for name in list_files(run / RESULTS) if "/old/" in name]
    assert left == []
    assert (run / RESULTS / "preprocess/mine/sub-02").exists()


def test_a_run_reports_visits_that_no_inventory_names(run, capsys):
    from braing3n.launch import start_run

    withdraw(run)
    start_run(yaml.safe_load((run / "x.yaml").read_text()), True, ["preprocess", "-n"])
    printed = capsys.readouterr().err
    assert "1 visits in results/x are in no inventory any more, such as" in printed
    assert "preprocess/mine/sub-02/anat" in printed


def test_weights_that_saw_a_withdrawn_person_are_described_without_naming_them(run):
    main(["strays", "list", "--config", "x.yaml"])
    assert describe_weights(run / RESULTS, ["mine", "old"]) == []
    withdraw(run)
    main(["strays", "list", "--config", "x.yaml"])
    (sentence,) = describe_weights(run / RESULTS, ["mine", "old"])
    assert sentence.startswith("pretrain/mae.safetensors was trained on 1 people")
    assert "sub-02" not in sentence


def test_withdrawn_people_are_counted_once_over_weight_files(run):
    withdraw(run)
    main(["strays", "list", "--config", "x.yaml"])
    results, cohorts = run / RESULTS, ["mine", "old"]
    mae, other, dit = (results / f"{n}.safetensors" for n in ("pretrain/mae", "tokenizer/x", "diffusion/dit"))
    gone = [volume_id("mine", "09", "", "", "T1")]
    write_training(results / "diffusion/checkpoints/ghi", gone, dit)
    assert (
        count_withdrawn(results, cohorts, [mae, other, mae]) == count_withdrawn(results, cohorts, [dit]) == 1
    )
    assert count_withdrawn(results, cohorts, [mae, dit]) == 2
    assert count_withdrawn(results, cohorts, [other]) == 0
    assert count_withdrawn(results, ["mine", "absent"], [mae]) == 0  # copied without inventories
