"""Cached tokens and features: right rows, same bytes after a kill, baselines by definition."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.cli import main
from braing3n.config import LatentsSettings, PretrainSettings, TokenizerSettings
from braing3n.core.errors import ConfigurationError, ContractError
from braing3n.core.runtime import digest_file
from braing3n.encoders import compute_features
from braing3n.encoders.histogram import count_levels
from braing3n.encoders.patches import summarise_patches
from braing3n.encoders.voxels import average_voxels
from braing3n.latents.cache import cache_latents, join_features, write_features
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes

CPU = torch.device("cpu")
SIZES = PretrainSettings(
    patch_size=4, depth=1, width=12, n_heads=2, decoder_depth=1, decoder_width=12, decoder_n_heads=2
)
SECTIONS = {"pretrain": SIZES}
SETTINGS = LatentsSettings(batch_size=5)


class Killed(BaseException):
    pass


class CountedVolumes(InventedVolumes):
    """Counts loads, and dies at the load of one row."""

    def __init__(self, dies_at=-1):
        super().__init__(n=12)
        self.dies_at, self.loaded = dies_at, []

    def load_levels(self, i, out):
        if i == self.dies_at:
            raise Killed
        self.loaded.append(i)
        return super().load_levels(i, out)


@pytest.fixture
def models():
    torch.manual_seed(0)
    encoder = MaskedAutoencoder(SIZES, (8, 8, 8)).eval()
    tokenizer = Tokenizer(TokenizerSettings(d=3, widths=(8, 4), n_blocks=1), 12, 4, encoder.grid).eval()
    return encoder.requires_grad_(False), tokenizer.requires_grad_(False)


def cache(models, volumes, folder, settings=SETTINGS):
    source = folder / "inputs"
    source.write_text("x")
    cache_latents(*models, volumes, settings, folder / "tokens.npy", folder / "f.npz", [source], CPU)
    return np.load(folder / "tokens.npy"), np.load(folder / "f.npz")


def test_rows_are_the_volume_lists(models, tmp_path):
    volumes = InventedVolumes(n=12)
    tokens, features = cache(models, volumes, tmp_path)
    assert (tokens.shape, tokens.dtype) == ((12, 8, 3), np.float16)
    assert list(features["volume_id"]) == list(volumes.table["volume_id"])
    for i in (0, 7, 11):
        encoded = models[0].encode(torch.from_numpy(volumes.load(i)[0])[None, None])
        assert np.allclose(tokens[i], models[1].project(encoded)[0].numpy(), atol=1e-2)
        assert np.allclose(features["features"][i], encoded[0].mean(0).numpy(), atol=1e-5)


def test_without_a_projection_tokens_are_the_encoders(models, tmp_path):
    encoder = models[0]
    settings = TokenizerSettings(d="none", widths=(8, 4), n_blocks=1)
    tokenizer = Tokenizer(settings, 12, 4, encoder.grid).eval().requires_grad_(False)
    volumes = InventedVolumes(n=6)
    tokens, features = cache((encoder, tokenizer), volumes, tmp_path)
    assert (tokens.shape, tokens.dtype) == ((6, 8, 12), np.float16)
    encoded = encoder.encode(torch.from_numpy(volumes.load(4)[0])[None, None])[0].numpy()
    assert np.abs(tokens[4] - encoded).max() < 1e-2
    assert np.allclose(tokens.astype(np.float32).mean(axis=1), features["features"], atol=1e-3)


def test_bfloat16_is_used_where_it_is_asked_for(models, tmp_path):
    volumes, half = InventedVolumes(n=12), SETTINGS.model_copy(update={"precision": "bfloat16"})
    found = {settings.precision: cache(models, volumes, tmp_path, settings) for settings in (SETTINGS, half)}
    untrained = [
        compute_features("untrained", volumes, options, SECTIONS, CPU, tmp_path / "part")
        for options in (SETTINGS, half)
    ]
    exact, rounded = (found[precision] for precision in ("float32", "bfloat16"))
    pairs = [(exact[0], rounded[0]), (exact[1]["features"], rounded[1]["features"]), untrained]
    for one, other in pairs:
        assert one.dtype == other.dtype
        errors = np.abs(one.astype(np.float32) - other) / one.std()
        assert 1e-4 < errors.mean() < 3e-2  # three digits are kept


def test_killed_job_goes_on_and_ends_with_the_same_bytes(models, tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    cache(models, InventedVolumes(n=12), tmp_path / "whole")
    with pytest.raises(Killed):
        cache(models, CountedVolumes(dies_at=8), tmp_path / "killed")
    assert not (tmp_path / "killed" / "tokens.npy").exists()
    again = CountedVolumes()
    cache(models, again, tmp_path / "killed")
    assert again.loaded == list(range(5, 12))  # the first batch of five was kept
    for name in ("tokens.npy", "f.npz"):
        assert digest_file(tmp_path / "whole" / name) == digest_file(tmp_path / "killed" / name)
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["f.npz", "inputs", "tokens.npy"]


def test_other_inputs_start_afresh(models, tmp_path):
    with pytest.raises(Killed):
        cache(models, CountedVolumes(dies_at=8), tmp_path)
    again = CountedVolumes()
    (tmp_path / "other").write_text("another encoder")
    out = tmp_path / "tokens.npy", tmp_path / "f.npz"
    cache_latents(*models, again, SETTINGS, *out, [tmp_path / "other"], CPU)
    assert again.loaded == list(range(12))


def test_tokens_beyond_float16_are_refused(models, tmp_path):
    models[1].project.bias.fill_(1e6)
    with pytest.raises(ContractError, match="float16"):
        cache(models, InventedVolumes(n=12), tmp_path)


def test_voxels_are_block_means():
    image = np.random.default_rng(0).normal(size=(40, 48, 40)).astype(np.float32)
    voxels = average_voxels(image, image > 9)
    assert voxels.shape == (20 * 24 * 20,)
    assert voxels[1] == pytest.approx(image[:2, :2, 2:4].mean(), abs=1e-6)
    assert average_voxels(np.zeros((160, 192, 160), np.float32), None).shape == (20 * 24 * 20,)


def test_histogram_is_the_share_of_brain_voxels():
    image, mask = np.zeros((4, 4, 4), np.float32), np.zeros((4, 4, 4), bool)
    mask[0], image[0], image[0, 0] = True, 0.1, -9.0  # 16 brain voxels: 4 far below, 12 just above 0
    shares = count_levels(image, mask)
    assert shares.shape == (20,)
    assert shares[[0, 10]] == pytest.approx([0.25, 0.75])


def test_untrained_encoder_is_the_same_class_from_another_seed(tmp_path):
    volumes = InventedVolumes(n=6)
    features = compute_features("untrained", volumes, SETTINGS, SECTIONS, CPU, tmp_path / "part")
    torch.manual_seed(SIZES.seed + 1)
    encoder = MaskedAutoencoder(SIZES, (8, 8, 8))
    tokens = encoder.encode(torch.from_numpy(volumes.load(3)[0])[None, None])
    expected = tokens.mean(1)
    assert features.shape == (6, 12)
    assert np.allclose(features[3], expected.numpy(force=True)[0], atol=1e-5)
    flat = compute_features("untrained_flattened", volumes, SETTINGS, SECTIONS, CPU, tmp_path / "part")
    assert flat.shape == (6, 8 * 12)
    assert np.allclose(flat.reshape(6, 8, 12).mean(1), features, atol=1e-6)
    assert np.allclose(flat[3, 12:24], tokens[0, 1].numpy(force=True), atol=1e-5)
    with pytest.raises(ConfigurationError, match=r"'pca' is no file of braing3n/encoders \(braindino"):
        compute_features("pca", volumes, SETTINGS, SECTIONS, CPU, tmp_path / "part")


def test_flattened_tokens_that_would_fill_the_disk_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("braing3n.encoders.untrained.MOST_TOKEN_NUMBERS", 6 * 8 * 12)
    six, seven = InventedVolumes(n=6), InventedVolumes(n=7)
    assert len(compute_features("untrained_flattened", six, SETTINGS, SECTIONS, CPU, tmp_path / "part")) == 6
    with pytest.raises(ConfigurationError, match="7 volumes of 8 tokens"):
        compute_features("untrained_flattened", seven, SETTINGS, SECTIONS, CPU, tmp_path / "part")


def test_places_of_a_large_patch_are_cubes_so_that_features_stay_as_few_as_a_networks():
    """A patch of the paper has 16^3 voxels: twice as many numbers would take 22 GB in the probes."""
    image = np.random.default_rng(0).normal(size=(32, 16, 16)).astype(np.float32)
    found = summarise_patches(image, image != 0, 16)
    cubes = image.reshape(2, 8, 2, 8, 2, 8, 2).mean(axis=(2, 4, 6)).reshape(2, 512)
    np.testing.assert_allclose(found, np.concatenate([cubes.mean(axis=0), cubes.std(axis=0)]), atol=1e-6)


def test_patches_are_means_and_deviations_over_the_places_of_a_grid(tmp_path):
    volumes = InventedVolumes(n=6)
    features = compute_features("patches", volumes, SETTINGS, SECTIONS, CPU, tmp_path / "part")
    assert features.shape == (6, 2 * 64)
    image = volumes.images[2]
    for i, j, k in ((0, 0, 0), (3, 1, 2)):  # a voxel's place in its patch: every fourth voxel of the volume
        seen = image[i::4, j::4, k::4]
        assert seen.size == 8
        assert features[2][16 * i + 4 * j + k] == pytest.approx(seen.mean(), abs=1e-6)
        assert features[2][64 + 16 * i + 4 * j + k] == pytest.approx(seen.std(), abs=1e-6)


def test_equal_features_are_equal_bytes(tmp_path, monkeypatch):
    ids, values = np.array(["a", "b"]), np.eye(2)
    write_features(ids, values, tmp_path / "1.npz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: json.loads("[2033, 5, 18, 3, 33, 20, 2, 138, 0]"))
    write_features(ids, values, tmp_path / "2.npz")
    assert digest_file(tmp_path / "1.npz") == digest_file(tmp_path / "2.npz")


@pytest.mark.parametrize(("width", "notes"), [(3, {"weights": "abc"}), (0, {"reason": "no weights"})])
def test_joined_parts_are_the_file_of_all_volumes(tmp_path, width, notes):
    features, ids = np.random.default_rng(0).normal(size=(5, width)), np.array(list("dbeac"))
    write_features(ids, features, tmp_path / "whole.npz", **notes)
    parts = [tmp_path / f"{k}.npz" for k in (10, 9, 8)]
    for path, rows in zip(parts, np.array_split(np.arange(5), 3), strict=True):
        write_features(ids[rows], features[rows], path, **notes)
    assert main(["latents", "join", "--parts", *map(str, parts), "--features", str(tmp_path / "x.npz")]) == 0
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("other", [{"weights": "abd"}, {"reason": "no weights"}, {"width": 0}])
def test_parts_of_other_encoders_are_not_joined(tmp_path, other):
    width = other.pop("width", 3)
    write_features(np.array(["a"]), np.ones((1, 3)), tmp_path / "a.npz", weights="abc")
    write_features(np.array(["b"]), np.ones((1, width)), tmp_path / "b.npz", **{"weights": "abc", **other})
    with pytest.raises(ContractError, match=r"b\.npz: is not of the same encoder as .*a\.npz"):
        join_features([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "all.npz")


@pytest.mark.parametrize("content", [b"", b"x", b"PK" + bytes(30)])
def test_a_damaged_part_is_one_sentence(tmp_path, capsys, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert main(["latents", "join", "--parts", str(tmp_path / "a.npz"), "--features", "x.npz"]) != 0
    assert "a.npz: is no file of features; remove it and rerun." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["untrained", "untrained_flattened", "patches", "voxels", "histogram"])
def test_a_stopped_job_resumes_at_its_last_batch(name, tmp_path, monkeypatch):
    monkeypatch.setattr("braing3n.encoders.N_AT_ONCE", 4)
    options = SETTINGS.model_copy(update={"batch_size": 4})
    whole = compute_features(name, InventedVolumes(n=10), options, SECTIONS, CPU, tmp_path / "whole")
    loaded = []

    class Stopping(InventedVolumes):
        stops = True

        def load(self, row):
            self.note(row)
            return super().load(row)

        def load_levels(self, row, out):
            self.note(row)
            return super().load_levels(row, out)

        def note(self, row):
            loaded.append(row)
            if self.stops and row >= 6:
                raise KeyboardInterrupt

    volumes = Stopping(n=10)
    with pytest.raises(KeyboardInterrupt):
        compute_features(name, volumes, options, SECTIONS, CPU, tmp_path / "part")
    volumes.stops, loaded[:] = False, []
    found = compute_features(name, volumes, options, SECTIONS, CPU, tmp_path / "part")
    np.testing.assert_array_equal(found, whole)
    assert set(loaded) - {0} == set(range(4, 10))  # of the first volume the number of features is known
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("name", ["untrained", "untrained_flattened", "patches", "voxels", "histogram"])
def test_the_command_gives_the_features_of_each_encoder(name, tmp_path, monkeypatch):
    class Listed(InventedVolumes):
        def __init__(self, *_):
            super().__init__(n=6)
            self.table = pd.DataFrame({"volume_id": [f"v{i}" for i in range(6)]})

        def digest(self):
            return "of the list"

    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", Listed)
    for section, text in (("latents", SETTINGS.as_json()), ("pretrain", SIZES.as_json())):
        (tmp_path / f"{section}.json").write_text(text)
    settings = [str(tmp_path / f"{section}.json") for section in ("latents", "pretrain")]
    paths = ["--volume-list", "list.parquet", "--volumes-dir", "volumes", "--features"]
    given = ["--name", name, *paths, str(tmp_path / "features.npz"), "--settings", *settings]
    assert main(["latents", "features", *given]) == 0
    with np.load(tmp_path / "features.npz") as written:
        assert np.array_equal(
            written["features"], compute_features(name, Listed(), SETTINGS, SECTIONS, CPU, tmp_path / "part")
        )
