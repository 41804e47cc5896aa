"""What is predicted without an encoder: against numpy, on the masks of the validation loss, in its units."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from braing3n.config import OptimiserSettings, PretrainSettings
from braing3n.core.contracts import read_table
from braing3n.pretrain import baselines
from braing3n.pretrain.contracts import MASKED_LOSS
from braing3n.pretrain.masks import draw_validation_noise
from braing3n.pretrain.train import train_encoder
from braing3n.pretrain.verdict import add_encoder, find_fault

sys.path.insert(0, str(Path(__file__).parent))
from invented import InventedVolumes

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = PretrainSettings(
    patch_size=4,
    depth=1,
    width=12,
    n_heads=2,
    decoder_depth=1,
    decoder_width=12,
    decoder_n_heads=2,
    optimiser=OptimiserSettings(batch_size=4, n_epochs=2, n_warmup_epochs=0, precision="float32"),
)
SHAPE = (8, 12, 16)  # 24 patches, of which 17 are hidden


class FewVolumes(InventedVolumes):
    """Brains of three modalities that differ by a few shapes; the third stands in no training volume."""

    def __init__(self, n=48):
        super().__init__(n, SHAPE, seed=3)
        rng = np.random.default_rng(4)
        self.table["modality"] = ["T1", "T2"] * (n // 2)
        self.table.loc[np.flatnonzero(self.table["split"] == "validation")[-1], "modality"] = "FLAIR"
        shapes = rng.normal(size=(3, *SHAPE))
        for i, modality in enumerate(self.table["modality"]):
            image = np.tensordot(rng.normal(size=3), shapes, 1) + (modality == "T2") * shapes[0]
            self.images[i] = np.where(self.mask, image + rng.normal(size=SHAPE) * 0.1, 0).astype(np.float32)


def cut(image):
    """Patches (24, 64) of a volume, one after the other."""
    corners = [(i, j, k) for i in (0, 4) for j in (0, 4, 8) for k in (0, 4, 8, 12)]
    return np.stack([image[i : i + 4, j : j + 4, k : k + 4].ravel() for i, j, k in corners]).astype(float)


def normalise(patches):
    return (patches - patches.mean(1, keepdims=True)) / np.sqrt(patches.var(1, ddof=1, keepdims=True) + 1e-6)


def train(folder, volumes, settings):
    folder.mkdir(exist_ok=True)
    source = folder / "list"
    source.write_text("what is trained on")
    paths = folder / "runs", folder / "mae.safetensors", [source]
    train_encoder(volumes, settings, *paths, table_path=folder / "masked_loss.parquet")
    table = read_table(folder / "masked_loss.parquet", MASKED_LOSS)
    return table.set_index("predictor")


@pytest.mark.parametrize("is_normalised", [False, True])
def test_baselines_are_those_of_numpy_on_the_masks_of_the_validation_loss(tmp_path, is_normalised):
    volumes, settings = FewVolumes(), SETTINGS.model_copy(update={"normalise_target": is_normalised})
    found = train(tmp_path, volumes, settings)["loss"]
    units = normalise if is_normalised else np.asarray
    targets = np.stack([units(cut(image)) for image in volumes.images])
    split, modality = (volumes.table[name].to_numpy() for name in ("split", "modality"))
    fitted = targets[split == "train"]
    mean, flat = fitted.mean(0), fitted.reshape(len(fitted), -1)
    _, singular, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    variances = singular[:5] ** 2 / (len(fitted) - 1)
    noise = singular[5:] @ singular[5:] / (len(fitted) - 1) / flat.shape[1]
    errors = {name: [] for name in found.index if name != "mae"}
    for row in np.flatnonzero(split == "validation"):
        chance = draw_validation_noise(np.array([row]), 24, settings.seed)[0].numpy()
        seen = np.sort(np.argsort(chance)[:7])
        hidden = np.setdiff1d(np.arange(24), seen)
        image, w = targets[row], axes[:5].reshape(5, 24, 64)
        a, b = w[:, seen].reshape(5, -1).T, (image[seen] - mean[seen]).ravel()
        # The same ridge as least squares with one more row a component.
        a = np.vstack([a, np.diag(np.sqrt(noise / variances))])
        scores = np.linalg.lstsq(a, np.append(b, np.zeros(5)))[0]
        own = fitted[modality[split == "train"] == modality[row]]
        made = {
            "zero": 0 * mean,
            "mean_image": mean,
            "modality_mean_image": own.mean(0) if len(own) else mean,
            "in_painting": mean + np.tensordot(scores, w, 1),
        }
        for name, values in made.items():
            errors[name].append(((values - image)[hidden] ** 2).mean())
    for name, values in errors.items():
        assert found[name] == pytest.approx(np.mean(values), rel=1e-4), name
    assert found["in_painting"] < 0.5 * found["modality_mean_image"] < 0.5 * found["zero"] * 1.2


@pytest.fixture
def blank_head(monkeypatch):
    """The prediction head starts at 0 and stays there."""
    init = torch.nn.init.xavier_uniform_
    monkeypatch.setattr(
        torch.nn.init, "xavier_uniform_", lambda w: init(w) if len(w) < 64 else w.data.zero_()
    )
    return {"optimiser": SETTINGS.optimiser.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})}


@pytest.mark.parametrize("is_normalised", [False, True])
def test_an_encoder_that_predicts_zero_has_the_loss_of_zero(tmp_path, blank_head, is_normalised):
    settings = SETTINGS.model_copy(update=blank_head | {"normalise_target": is_normalised})
    found = train(tmp_path, FewVolumes(), settings)
    assert found.loc["mae", "loss"] == pytest.approx(found.loc["zero", "loss"], rel=1e-5)
    assert found.loc["mae", "n_training_volumes"] == found.loc["mean_image", "n_training_volumes"] == 32


def test_an_encoder_that_starts_at_the_mean_image_has_its_loss(tmp_path, blank_head):
    settings = SETTINGS.model_copy(update=blank_head | {"offset": "mean_image"})
    found = train(tmp_path, FewVolumes(), settings)
    assert found.loc["mae", "loss"] == pytest.approx(found.loc["mean_image", "loss"], rel=1e-5)


def test_principal_images_are_those_of_the_training_volumes(tmp_path, blank_head):
    """Against numpy's singular vectors, each as long as its scores' deviation; scores start at 0."""
    volumes = FewVolumes()
    settings = SETTINGS.model_copy(update=blank_head | {"offset": "principal_images"})
    found = train(tmp_path, volumes, settings)
    assert found.loc["mae", "loss"] == pytest.approx(found.loc["mean_image", "loss"], rel=1e-5)
    images = load_file(tmp_path / "mae.safetensors")["principal_images"].numpy().reshape(5, -1)
    is_train = volumes.table["split"] == "train"
    flat = np.stack([cut(image).ravel() for image in np.stack(volumes.images)[is_train]])
    _, singular, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    expected = axes[:5] * singular[:5, None] / np.sqrt(len(flat) - 1)
    signs = np.sign((images * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(images * signs, expected, atol=1e-3 * np.abs(expected).max())


def test_principal_images_are_of_all_batches(tmp_path, blank_head, monkeypatch):
    """Four batches of 7 and one of 4, which is fewer than the images. The volumes differ by three shapes."""
    monkeypatch.setattr(baselines, "BATCH_SIZE", 7)
    volumes = FewVolumes()
    settings = SETTINGS.model_copy(update=blank_head | {"offset": "principal_images"})
    found = train(tmp_path, volumes, settings)
    assert found.loc["mean_image", "n_training_volumes"] == 32
    images = load_file(tmp_path / "mae.safetensors")["principal_images"].numpy().reshape(5, -1)[:3]
    flat = np.stack(
        [cut(image).ravel() for image in np.stack(volumes.images)[volumes.table["split"] == "train"]]
    )
    _, singular, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    lengths = np.linalg.norm(images, axis=1)
    np.testing.assert_allclose(lengths, singular[:3] / np.sqrt(31), rtol=0.02)
    assert (np.abs((images * axes[:3]).sum(1)) > 0.99 * lengths).all()


def test_of_few_volumes_the_images_that_there_are_come_first():
    targets = np.random.default_rng(0).normal(size=(3, 24, 64)).astype(np.float32)
    images = baselines.Baselines(iter([targets]), [np.array(["T1", "T1", "T2"])]).principal_images
    assert images.shape == (5, 24, 64)
    _, singular, _ = np.linalg.svd(targets.reshape(3, -1) - targets.reshape(3, -1).mean(0))
    np.testing.assert_allclose(np.linalg.norm(images[:2], axis=(1, 2)), singular[:2] / np.sqrt(2), rtol=1e-5)
    assert np.abs(images[2:]).max() < 1e-5


def test_they_stand_beside_each_validation_loss_and_are_measured_once(tmp_path, capsys, monkeypatch):
    settings = SETTINGS.model_copy(
        update={"optimiser": SETTINGS.optimiser.model_copy(update={"validate_every_epochs": 1})}
    )
    measured = []
    measure = baselines.measure_baselines
    monkeypatch.setattr(
        "braing3n.pretrain.train.measure_baselines", lambda *given: measured.append(1) or measure(*given)
    )
    found = train(tmp_path, FewVolumes(), settings)["loss"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "validation loss" in line]
    assert len(lines) == 2
    for line in lines:
        assert f"modality_mean_image {found['modality_mean_image']:.4f}" in line
        assert f"in_painting {found['in_painting']:.4f}" in line
    assert len(measured) == 1


def test_at_most_so_many_volumes_of_a_modality_are_read(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_VOLUMES", 5)
    table = FewVolumes().table
    drawn = [baselines._choose_rows(table, seed) for seed in range(6)]
    for rows in drawn:
        assert table.iloc[rows]["modality"].value_counts().to_dict() == {"T1": 5, "T2": 5}
        assert set(table.iloc[rows]["split"]) == {"train"}
        assert list(rows) != sorted(rows), "mixed, for a batch of one modality has other components"
    assert len({frozenset(rows) for rows in drawn}) == len(drawn)


def test_an_empty_validation_split_is_no_number_and_no_fault(tmp_path):
    volumes = FewVolumes()
    volumes.table["split"] = volumes.table["split"].replace("validation", "test")
    found = train(tmp_path, volumes, SETTINGS)
    assert found["loss"].isna().all()
    assert find_fault(found.reset_index()) == ""


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [(0.285, "learned nothing"), (0.189, "learned nothing"), (0.15, "does not beat"), (0.102, "")],
)
def test_what_was_not_learned_is_one_sentence(loss, sentence):
    names = ["zero", "mean_image", "modality_mean_image", "in_painting"]
    table = pd.DataFrame({"predictor": names, "loss": [0.3, 0.189, 0.103, 0.097]})
    fault = find_fault(add_encoder(table.assign(n_volumes=3, n_training_volumes=9), loss, 9))
    assert (sentence in fault) if sentence else not fault
    assert fault.count("\n") == 0
    if sentence:
        assert f"{loss:.3f}" in fault
