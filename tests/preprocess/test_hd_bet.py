"""HD-BET version 2: a small nnU-Net, trained here on invented heads, is read and finds brains."""

import json
import multiprocessing
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.config import PreprocessSettings, ResourceSettings
from braing3n.core.errors import ResourceError
from braing3n.preprocess.brain.hd_bet import load_hd_bet
from braing3n.preprocess.brain.hd_bet_model import find_model
from braing3n.preprocess.read.scan import read_scan
from braing3n.preprocess.shard import prepare_job, preprocess_shard
from braing3n.preprocess.space.register import measure_dice
from braing3n.preprocess.store import compute_key

from .brains import centred_affine, make_row, rotate
from .nnunet import is_brain, make_head, write_model

pytest.importorskip("nnunetv2", reason="nnU-Net belongs to the preprocess extra")


@pytest.fixture(scope="session")
def nnunet_dir(tmp_path_factory):
    """The folder of a network trained on invented heads."""
    return write_model(tmp_path_factory.mktemp("nnunet") / "model")


@pytest.fixture
def copy_model(nnunet_dir, tmp_path):
    """Copy the folder, for a test that changes it."""
    return lambda name="copy": Path(shutil.copytree(nnunet_dir, tmp_path / name))


def change_checkpoint(folder, **changes):
    """Replace entries of a copied model's checkpoint."""
    path = folder / "fold_all" / "checkpoint_final.pth"
    torch.save(torch.load(path, weights_only=False) | changes, path)


def find(model_dir, tmp_path):
    return find_model(ResourceSettings(paths={"hd-bet": str(model_dir)}), tmp_path / "resources")


def write_head(path, shape, spacing_mm, axes="RAS", seed=100):
    """An unseen head in a file whose voxels are stored along `axes`; returns where its brain is in RAS mm."""
    affine, to_brain = centred_affine(shape, spacing_mm), rotate(9, shift=(7, -5, 4), scale=0.96)
    image = nib.Nifti1Image(make_head(shape, affine, to_brain, seed)[0], affine)
    order = nib.orientations.axcodes2ornt(axes)
    stored = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), order))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(stored, path)
    return lambda points: is_brain(points @ to_brain[:3, :3].T + to_brain[:3, 3])


def list_points(scan):
    """RAS positions (X, Y, Z, 3) of a scan's voxels, mm."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in scan.data.shape], indexing="ij"), axis=-1)
    return index @ scan.affine[:3, :3].T + scan.affine[:3, 3]


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axes"),
    [((60, 70, 58), 4.0, "RAS"), ((72, 88, 34), (3.0, 3.0, 7.0), "LIA"), ((44, 50, 52), 5.0, "PSR")],
)
def test_the_brain_of_an_unseen_head_is_found_on_any_grid(nnunet_dir, tmp_path, shape, spacing_mm, axes):
    knows_brain = write_head(tmp_path / "head.nii.gz", shape, spacing_mm, axes)
    scan = read_scan(tmp_path / "head.nii.gz")
    masks = [load_hd_bet(find(nnunet_dir, tmp_path), use_mirroring=False)(scan) for _ in range(2)]
    assert measure_dice(masks[0], knows_brain(list_points(scan))) >= 0.9
    assert masks[0].dtype == bool
    assert masks[0].tobytes() == masks[1].tobytes()


@pytest.mark.parametrize("use_mirroring", [False, True])
def test_nnunets_own_command_gives_the_same_mask(nnunet_dir, tmp_path, use_mirroring):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    path = tmp_path / "in" / "head_0000.nii.gz"
    write_head(path, (60, 72, 40), (4.0, 3.5, 5.0))
    predictor = nnUNetPredictor(use_mirroring=use_mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(nnunet_dir), ("all",))
    predictor.predict_from_files_sequential([[str(path)]], [str(tmp_path / "theirs")])
    theirs = np.asarray(nib.load(tmp_path / "theirs.nii.gz").dataobj) > 0
    ours = load_hd_bet(find(nnunet_dir, tmp_path), use_mirroring)(read_scan(path))
    assert theirs.sum() > 1000
    assert np.array_equal(ours, theirs)


def test_several_folds_are_averaged_where_there_is_none_of_all(nnunet_dir, tmp_path, copy_model):
    folds = copy_model()
    (folds / "fold_all").rename(folds / "fold_0")
    (folds / "fold_1").mkdir()
    (folds / "fold_1" / "checkpoint_final.pth").write_bytes(
        (folds / "fold_0" / "checkpoint_final.pth").read_bytes()
    )
    write_head(tmp_path / "head.nii.gz", (44, 52, 44), 5.0)
    scan, model = read_scan(tmp_path / "head.nii.gz"), find(folds, tmp_path)
    assert model.folds == ("0", "1")
    one = load_hd_bet(find(nnunet_dir, tmp_path), use_mirroring=False)(scan)
    assert measure_dice(load_hd_bet(model, use_mirroring=False)(scan), one) > 0.999


def test_no_process_no_thread_and_no_word_more(nnunet_dir, tmp_path, monkeypatch, capfd):
    write_head(tmp_path / "head.nii.gz", (44, 52, 44), 5.0)
    taken = []
    set_num_threads = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda n: (taken.append(n), set_num_threads(n)))
    monkeypatch.setattr(
        multiprocessing.process.BaseProcess, "start", lambda self: pytest.fail("a process was started")
    )
    capfd.readouterr()
    load_hd_bet(find(nnunet_dir, tmp_path), use_mirroring=False)(read_scan(tmp_path / "head.nii.gz"))
    assert set(taken) <= {1}
    assert torch.get_num_threads() == 1
    assert capfd.readouterr() == ("", "")


def test_a_shard_of_whole_heads_is_stripped_by_it(nnunet_dir, tmp_path, atlas_path, settings):
    path = tmp_path / "raw" / "sub-01_T1w.nii.gz"
    write_head(path, (54, 64, 52), 4.0)
    inventory = tmp_path / "shard-000.tsv"
    pd.DataFrame([make_row(path, is_stripped=0)]).to_csv(inventory, sep="\t", index=False)
    chosen = settings.model_copy(update={"brain_extraction": "hd-bet", "fallback_extraction": "none"})
    resources = ResourceSettings(paths={"sri24": str(atlas_path), "hd-bet": str(nnunet_dir)})
    store = tmp_path / "store"
    row = preprocess_shard(inventory, store, store / "table.parquet", chosen, resources).iloc[0]
    assert row["status"] == "kept", row["reason"]
    assert row["steps"] == "extract:hd-bet;affine"
    assert row["atlas_dice"] > 0.9
    sidecar = json.loads(next(store.rglob("*_desc-preproc.json")).read_text())
    assert sidecar["Weights"] == {"hd-bet": find(nnunet_dir, tmp_path).sha256}


def test_other_weights_are_another_result_and_no_other_backend_needs_them(
    nnunet_dir, tmp_path, atlas_path, copy_model
):
    other = copy_model()
    change_checkpoint(other, current_epoch=77)
    keys = []
    for folder in (nnunet_dir, other):
        resources = ResourceSettings(paths={"sri24": str(atlas_path), "hd-bet": str(folder)})
        for backends in (("hd-bet", "none"), ("deepbet", "hd-bet"), ("deepbet", "none")):
            chosen = PreprocessSettings(brain_extraction=backends[0], fallback_extraction=backends[1])
            job = prepare_job(tmp_path, chosen, resources, tmp_path / "resources")
            keys.append(compute_key([], [], chosen, job.atlas_sha256, job.weights))
    assert keys[2] == keys[5] == compute_key([], [], chosen, job.atlas_sha256)
    assert len(set(keys)) == 5


def test_a_model_that_nnunet_cannot_build_is_one_sentence(tmp_path, copy_model):
    changed = copy_model()
    change_checkpoint(changed, trainer_name="TrainerOfNobody")
    with pytest.raises(ResourceError, match=r"copy: nnU-Net cannot build its network \(.*TrainerOfNobody"):
        load_hd_bet(find(changed, tmp_path), use_mirroring=False)


def test_a_model_of_several_images_is_one_sentence(tmp_path, copy_model):
    changed = copy_model()
    dataset = json.loads((changed / "dataset.json").read_text())
    dataset["channel_names"] = {"0": "T1", "1": "FLAIR"}
    (changed / "dataset.json").write_text(json.dumps(dataset))
    weights = torch.load(changed / "fold_all" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    for name, value in weights.items():
        if value.ndim == 5 and value.shape[1] == 1:
            weights[name] = value.repeat(1, 2, 1, 1, 1)
    change_checkpoint(changed, network_weights=weights)
    with pytest.raises(ResourceError, match="copy: its network takes 2 images at a time"):
        load_hd_bet(find(changed, tmp_path), use_mirroring=False)


def test_weights_of_another_network_are_one_sentence(tmp_path, copy_model):
    changed = copy_model()
    change_checkpoint(changed, network_weights={})
    with pytest.raises(ResourceError, match=r"cannot build its network \(.*Missing key") as caught:
        load_hd_bet(find(changed, tmp_path), use_mirroring=False)
    assert len(str(caught.value)) < 400
