"""HD-BET's model folder: an archive or a folder, its digest, and what is refused before it runs."""

import hashlib
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from braing3n import cli
from braing3n.config import ResourceSettings
from braing3n.core.errors import ResourceError
from braing3n.preprocess.brain.hd_bet_model import find_model, load_as_weights

from .brains import write_brain
from .nnunet import make_dataset, make_plans


@pytest.fixture
def model_dir(tmp_path):
    """A model's folder with a checkpoint of one weight, in nnU-Net's format."""
    folder = tmp_path / "model"
    (folder / "fold_all").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(make_plans()))
    (folder / "dataset.json").write_text(json.dumps(make_dataset()))
    checkpoint = {
        "network_weights": {"layer.weight": torch.ones(3)},
        "logging": {"train_losses": [np.float32(0.5), np.float64(0.25)], "epochs": [np.int64(3)]},
        "_best_ema": np.float64(0.9),
        "init_args": {"configuration": "3d_fullres", "device": torch.device("cuda")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_all" / "checkpoint_final.pth")
    return folder


def find(path, tmp_path, **digests):
    settings = ResourceSettings(paths={"hd-bet": str(path)}, sha256=digests)
    return find_model(settings, tmp_path / "resources")


def digest_anew(folder):
    names = ("dataset.json", "plans.json", "fold_all/checkpoint_final.pth")
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def rewrite_pickle(path, change):
    """Change the pickle inside a checkpoint, and leave its tensors."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, change(content) if member.endswith("/data.pkl") else content)


class Malice:
    """Creates a file as soon as it is unpickled by anything that runs what a pickle says."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_the_digest_is_that_of_the_files_in_a_row_and_is_held_against_the_configured_one(model_dir, tmp_path):
    digest = digest_anew(model_dir)
    assert find(model_dir, tmp_path).sha256 == digest
    assert find(model_dir, tmp_path, **{"hd-bet": digest.upper()}).folds == ("all",)
    with pytest.raises(
        ResourceError, match=rf"model has sha256 {digest}, but resources\.sha256\.hd-bet says 0{{64}}"
    ):
        find(model_dir, tmp_path, **{"hd-bet": "0" * 64})


@pytest.mark.parametrize("top", ["", "release_v1.5.0/"])
def test_an_archive_is_the_same_model_and_only_its_files_are_written(model_dir, tmp_path, top):
    archive = tmp_path / "release_v1.5.0.zip"
    with zipfile.ZipFile(archive, "w") as package:
        for path in sorted(model_dir.rglob("*.*")):
            package.write(path, f"{top}{path.relative_to(model_dir)}")
        package.writestr("../outside.txt", "x")
        package.writestr(f"{top}fold_all/../../../checkpoint_final.pth", "x")
        package.writestr(f"__MACOSX/{top}._plans.json", "x")
    model = find(archive, tmp_path)
    assert model.sha256 == find(model_dir, tmp_path).sha256
    written = sorted(path for path in (tmp_path / "resources").rglob("*") if path.is_file())
    names = [path.relative_to(model.folder).as_posix() for path in written]
    assert names == ["dataset.json", "fold_all/checkpoint_final.pth", "plans.json"]
    assert not (tmp_path / "outside.txt").exists()
    times = [path.stat().st_mtime_ns for path in written]
    assert find(archive, tmp_path) == model
    assert [path.stat().st_mtime_ns for path in written] == times


def test_an_unpacked_file_that_was_changed_at_equal_size_is_unpacked_again(model_dir, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "release_v1.5.0"), "zip", model_dir))
    model = find(archive, tmp_path)
    path = model.folder / "dataset.json"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b" ")
    assert find(archive, tmp_path) == model
    assert path.read_bytes() == content


def test_an_archive_that_unpacks_to_many_times_its_size_leaves_nothing_on_the_disk(model_dir, tmp_path):
    archive = tmp_path / "release_v1.5.0.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for name in ("plans.json", "dataset.json"):
            package.write(model_dir / name, name)
        package.writestr("fold_all/checkpoint_final.pth", bytes(30 * 10**6))
    with pytest.raises(ResourceError, match="would unpack to 30 MB, 20 times its size and more"):
        find(archive, tmp_path)
    assert not [path for path in (tmp_path / "resources").rglob("*") if path.is_file()]


def test_the_archive_is_found_in_the_resources_folder_without_a_word(model_dir, tmp_path):
    (tmp_path / "resources").mkdir()
    shutil.make_archive(tmp_path / "resources" / "release_v1.5.0", "zip", model_dir)
    assert find_model(ResourceSettings(), tmp_path / "resources").sha256 == digest_anew(model_dir)


def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(model_dir, tmp_path):
    path, trace = model_dir / "fold_all" / "checkpoint_final.pth", tmp_path / "it-ran"
    torch.save({"network_weights": {}, "logging": Malice(trace)}, path)
    with pytest.raises(ResourceError, match=r"holds more than weights and numbers \(it asks for \w+\.open\)"):
        find(model_dir, tmp_path)
    assert not trace.exists()
    with load_as_weights(), pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=False)  # as nnU-Net asks for it
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # what it would have done


def test_numbers_of_numpy_1_are_taken_too(model_dir, tmp_path):
    path = model_dir / "fold_all" / "checkpoint_final.pth"
    rewrite_pickle(path, lambda text: text.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    find(model_dir, tmp_path)
    with load_as_weights():
        assert torch.load(path)["logging"]["train_losses"] == [0.5, 0.25]


def change_network(plans, name):
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = name


def change_layer(plans, name):
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["norm_op"] = name


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (change_network, "subprocess.Popen"),
        (change_network, "dynamic_network_architectures.architectures.unet.torch.nn.Linear"),
        (change_layer, "builtins.exec"),
        (change_layer, "torch.nn.modules.module.os.system"),
        (change_layer, ["torch.nn.Linear"]),
    ],
)
def test_a_plan_that_names_anything_but_a_network_is_refused(model_dir, tmp_path, change, name):
    plans = make_plans()
    change(plans, name)
    (model_dir / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(
        ResourceError, match=r"plans\.json: wants .* imported, no network or layer of nnU-Net"
    ):
        find(model_dir, tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: shutil.rmtree(folder / "fold_all"),
            "model has no fold_all/checkpoint_final.pth; name",
        ),
        (lambda folder: (folder / "plans.json").unlink(), "model has no plans.json; name nnU-Net's folder"),
        (lambda folder: (folder / "plans.json").write_text("[]"), "plans.json: is no plan of nnU-Net"),
        (lambda folder: cut(folder / "fold_all" / "checkpoint_final.pth"), "is no readable checkpoint"),
        (
            lambda folder: (folder / "fold_all" / "checkpoint_final.pth").write_bytes(b""),
            "is no readable checkpoint",
        ),
    ],
)
def test_a_folder_with_a_fault_is_one_sentence(model_dir, tmp_path, spoil, words):
    spoil(model_dir)
    with pytest.raises(ResourceError, match=re.escape(words)) as caught:
        find(model_dir, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "words"), [(b"no archive", "is no readable zip"), (None, "has 0 plans.json")]
)
def test_a_file_that_is_no_model_is_one_sentence(tmp_path, content, words):
    path = tmp_path / "other.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as package:
            package.writestr("readme.txt", "x")
    else:
        path.write_bytes(content)
    with pytest.raises(ResourceError, match=words):
        find(path, tmp_path)


def test_without_weights_one_sentence_says_what_where_from_and_which_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scan, atlas = write_brain(tmp_path / "t1.nii.gz"), write_brain(tmp_path / "atlas.nii")
    (tmp_path / "my.yaml").write_text(f"resources: {{paths: {{sri24: {atlas}}}}}")
    words = ["preprocess", scan, "-o", "out", "--brain-extraction", "hd-bet", "--config", "my.yaml"]
    assert cli.main(words) == 2
    printed = capsys.readouterr().err.strip()
    assert len(printed.splitlines()) == 1
    for part in ("hd-bet", "release_v1.5.0.zip", "zenodo.org/records/14445620", "resources.paths.hd-bet"):
        assert part in printed
