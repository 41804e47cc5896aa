"""The tokenizer: shapes, size, the linear start against scikit-learn, early stop, metrics."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge

from braing3n import training
from braing3n.cli import main
from braing3n.config import OptimiserSettings, PretrainSettings, TokenizerSettings
from braing3n.core.errors import CheckpointError, ConfigurationError, StoppedError
from braing3n.core.runtime import digest_file
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder, patchify
from braing3n.tokenizer import initial_weights
from braing3n.tokenizer.initial_weights import initialise_from_components
from braing3n.tokenizer.measure import draw_reconstructions, measure_reconstruction
from braing3n.tokenizer.model import Tokenizer, reconstruct
from braing3n.tokenizer.train import train_tokenizer
from braing3n.training import read_record, read_weights, write_weights

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from invented import InventedVolumes
from reference import train_plainly

CPU = torch.device("cpu")
SETTINGS = TokenizerSettings(
    d=3,
    widths=(8, 4),
    n_blocks=1,
    patience=2,
    optimiser=OptimiserSettings(
        lr=1e-3, batch_size=4, n_epochs=6, n_warmup_epochs=1, precision="float32", validate_every_epochs=1
    ),
)


def build_encoder(shape):
    torch.manual_seed(0)
    sizes = {"patch_size": 4, "depth": 1, "width": 12, "n_heads": 2}
    decoder = {"decoder_depth": 1, "decoder_width": 12, "decoder_n_heads": 2}
    return MaskedAutoencoder(PretrainSettings(**sizes, **decoder), shape).eval().requires_grad_(False)


@pytest.fixture
def encoder():
    return build_encoder((8, 8, 8))


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return Tokenizer(SETTINGS, 12, 4, (2, 2, 2))


def train(folder, encoder, volumes, settings=SETTINGS):
    source = folder / "inputs"
    source.write_text("")
    train_tokenizer(volumes, encoder, settings, folder / "runs", folder / "t.safetensors", [source])
    return load_model(Tokenizer, folder / "t.safetensors")


def test_decoder_shapes_and_zero_branch(tokenizer):
    tokens = torch.randn(2, 8, 3)
    image = tokenizer.decode(tokens)
    assert image.shape == (2, 1, 8, 8, 8)
    assert torch.equal(patchify(image, 4), tokenizer.patch_head(tokens))  # the CNN starts at zero


def test_the_image_is_the_patch_heads_and_the_cnns_together(tokenizer):
    torch.nn.init.normal_(tokenizer.cnn.leave.convolve.weight)
    tokens = torch.randn(2, 8, 3)
    with torch.no_grad():
        linear, rest = tokenizer.patch_head(tokens), tokenizer.cnn(tokens.mT.reshape(2, 3, 2, 2, 2))
        assert torch.allclose(patchify(tokenizer.decode(tokens), 4), linear + patchify(rest, 4), atol=1e-5)
    assert rest.abs().mean() > 0.1


def test_cnn_keeps_places(tokenizer):
    """A change of one token moves voxels of its neighbourhood most: token order and voxel order agree."""
    net = Tokenizer(SETTINGS.model_copy(update={"has_attention": False}), 12, 4, (6, 2, 2))
    torch.nn.init.normal_(net.cnn.leave.convolve.weight)
    tokens = torch.randn(1, 24, 3)
    other = tokens.clone()
    other[0, 0] += 1
    change = (net.cnn(_grid(tokens)) - net.cnn(_grid(other))).abs()[0, 0]
    assert change[:4, :4, :4].mean() > 5 * change[-4:].mean()


def _grid(tokens):
    return tokens.transpose(1, 2).reshape(1, 3, 6, 2, 2)


def test_paper_size():
    with torch.device("meta"):
        net = Tokenizer(TokenizerSettings(), 1152, 16, (10, 12, 10))
        image = net.decode(torch.empty(1, 1200, 32))
    counts = net.count_parameters()
    assert image.shape == (1, 1, 160, 192, 160)
    assert counts["cnn_decoder"] == pytest.approx(43.7e6, rel=0.02)
    assert counts["cnn_decoder"] + counts["patch_head"] == pytest.approx(43.7e6, rel=0.02)
    assert counts["projection"] == 1152 * 32 + 32


def list_tokens(encoder, volumes):
    """All training tokens (n, width) and their patches (n, voxels)."""
    rows = np.flatnonzero(volumes.table["split"] == "train")
    batch = torch.stack([torch.from_numpy(volumes.load(i)[0])[None] for i in rows])
    return encoder.encode(batch).flatten(0, 1).numpy(), patchify(batch, 4).flatten(0, 1).numpy()


def test_start_is_the_best_linear_map_through_d_channels(tokenizer, encoder):
    volumes = InventedVolumes(n=30)
    initialise_from_components(tokenizer, encoder, volumes, 4, CPU)
    features, patches = (part.astype(np.float64) for part in list_tokens(encoder, volumes))

    alpha = 1e-6 * len(features) * features.var(axis=0).mean()
    predictable = Ridge(alpha=alpha).fit(features, patches).predict(features)
    components = PCA(3, svd_solver="full").fit(predictable)
    expected = components.inverse_transform(components.transform(predictable))
    ours = tokenizer.project(torch.from_numpy(features).float())
    predicted = tokenizer.patch_head(ours).numpy(force=True)
    assert np.abs(predicted - expected).max() < 1e-3
    assert ours.numpy(force=True).var(axis=0).mean() == pytest.approx(1, rel=1e-3)

    scores = PCA(3, svd_solver="full").fit_transform(features)  # the components of the tokens lose more
    other = LinearRegression().fit(scores, patches).predict(scores)
    assert ((predicted - patches) ** 2).mean() < 0.99 * ((other - patches) ** 2).mean()


@pytest.mark.parametrize("ridge", [1e-6, 0.1])
def test_the_ridge_of_the_start_is_that_of_tokens_of_unit_variance(encoder, monkeypatch, ridge):
    monkeypatch.setattr(initial_weights, "RIDGE", ridge)
    tokenizer, volumes = Tokenizer(SETTINGS.with_d("none"), 12, 4, (2, 2, 2)), InventedVolumes(n=30)
    initialise_from_components(tokenizer, encoder, volumes, 4, CPU)
    features, patches = list_tokens(encoder, volumes)
    read = tokenizer.standardise(torch.from_numpy(features)).numpy()
    tokens = torch.from_numpy(features).reshape(-1, 8, 12)
    predicted = patchify(tokenizer.decode(tokens), 4).flatten(0, 1).numpy(force=True)
    expected = Ridge(alpha=ridge * len(read)).fit(read.astype(np.float64), patches).predict(read)
    assert np.abs(predicted - expected).max() < 1e-3


def test_without_a_projection_the_start_is_least_squares_on_all_channels(encoder):
    tokenizer = Tokenizer(SETTINGS.with_d("none"), 12, 4, (2, 2, 2))
    volumes = InventedVolumes(n=30)
    initialise_from_components(tokenizer, encoder, volumes, 4, CPU)
    features, patches = list_tokens(encoder, volumes)
    tokens = tokenizer.project(torch.from_numpy(features))
    assert torch.equal(tokens, torch.from_numpy(features)), "no projection changes no token"

    read = tokenizer.standardise(tokens).numpy()
    assert read.var(axis=0).mean() == pytest.approx(1, rel=1e-3)
    assert np.abs(read.mean(axis=0)).max() < 1e-4
    predicted = patchify(tokenizer.decode(tokens.reshape(-1, 8, 12)), 4).flatten(0, 1).numpy(force=True)
    # A layer norm's channels add up, so that one direction is empty: least squares is the same without it.
    least_squares = LinearRegression().fit(features.astype(np.float64), patches)
    gap = ((predicted - patches) ** 2).mean() - ((least_squares.predict(features) - patches) ** 2).mean()
    assert 0 <= gap + 1e-6 < 1e-4


@pytest.mark.parametrize("d", ["3", "none"])
def test_without_a_patch_head_the_image_is_the_cnns_alone(tmp_path, encoder, d):
    settings = SETTINGS.with_d(d).model_copy(update={"has_patch_head": False})
    volumes = InventedVolumes()
    start = Tokenizer(settings, 12, 4, (2, 2, 2))
    initialise_from_components(start, encoder, volumes, 4, CPU)
    features, _ = list_tokens(encoder, volumes)
    tokens = start.standardise(start.project(torch.from_numpy(features)))
    assert tokens.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-3)
    assert torch.count_nonzero(start(torch.randn(1, 8, 12))) == 0, "the CNN starts at zero"

    trained = train(tmp_path, encoder, volumes, settings)
    assert not any("patch_head" in name for name in trained.state_dict())
    assert trained.count_parameters()["patch_head"] == 0
    torch.nn.init.normal_(trained.cnn.leave.convolve.weight)
    tokens = torch.randn(2, 8, trained.n_channels)
    grid = trained.standardise(tokens).transpose(1, 2).reshape(2, -1, 2, 2, 2)
    assert torch.count_nonzero(trained.cnn(grid))
    assert torch.equal(trained.decode(tokens), trained.cnn(grid))


@pytest.mark.parametrize("d", ["3", "none"])
def test_training_keeps_the_best_and_resumes_to_the_same_bits(tmp_path, encoder, d):
    volumes = InventedVolumes()
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    settings = SETTINGS.with_d(d).model_copy(update={"patience": 99})
    options = settings.optimiser.model_copy(update={"checkpoint_every_steps": 4})
    settings = settings.model_copy(update={"optimiser": options})
    train(tmp_path / "whole", encoder, volumes, settings)
    train(tmp_path / "resumed", encoder, volumes, settings)
    (run,) = (tmp_path / "resumed" / "runs").iterdir()
    (run / "weights.safetensors").unlink()
    sorted(run.glob("step-*"))[-1].unlink()  # as if killed between the last two checkpoints
    train(tmp_path / "resumed", encoder, volumes, settings)
    assert digest_file(tmp_path / "whole/t.safetensors") == digest_file(tmp_path / "resumed/t.safetensors")

    rows = [line.split(",") for line in (run / "loss.csv").read_text().splitlines()[1:]]
    assert [int(row[0]) for row in rows if row[2]] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("l2", 2)])
def test_losses_are_the_mean_errors_of_a_loop_written_anew(tmp_path, encoder, loss, power):
    volumes = InventedVolumes(n=15)
    more = {"lr": 0.02, "weight_decay": 0.1, "gradient_clip": 0.05, "validate_every_epochs": 2}
    options = SETTINGS.optimiser.model_copy(update=more)
    settings = SETTINGS.model_copy(update={"optimiser": options, "patience": 99, "loss": loss})
    train(tmp_path, encoder, volumes, settings)
    (path,) = tmp_path.glob("runs/*/loss.csv")
    found = np.genfromtxt(path, delimiter=",", skip_header=1)

    images = torch.from_numpy(np.stack(volumes.images))[:, None]
    rows = {split: np.flatnonzero(volumes.table["split"] == split) for split in ("train", "validation")}
    plan = training.plan_batches(rows["train"], options, settings.seed)
    torch.manual_seed(settings.seed)
    net = Tokenizer(settings, 12, 4, (2, 2, 2))
    initialise_from_components(net, encoder, volumes, options.batch_size, CPU)

    def measure(batch):
        return (net(encoder.encode(images[batch])) - images[batch]).abs().pow(power).mean()

    losses, validation = [], []
    for loss in train_plainly(net, lambda step: measure(plan[step]), len(plan), options):
        losses.append(loss)
        validation.append(measure(rows["validation"]).item())
    assert found[:, 1] == pytest.approx(losses, rel=1e-4)
    assert list(found[3::4, 2]) == pytest.approx(validation[3::4], rel=1e-4)  # two steps an epoch
    assert losses[-1] < 0.98 * losses[0]


def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_bits(tmp_path, encoder):
    class Stopping(InventedVolumes):
        n_loaded = 0

        def load_levels(self, i, out):
            self.n_loaded += 1
            if self.n_loaded == 30:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().load_levels(i, out)

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "whole", encoder, InventedVolumes())
    with pytest.raises(StoppedError, match=r"tokenizer: asked to stop, after step \d+ of 12") as stopped:
        train(tmp_path / "stopped", encoder, Stopping())
    (saved,) = (tmp_path / "stopped").glob("runs/*/step-*")
    assert f"after step {int(saved.stem.split('-')[1])} of" in str(stopped.value)
    parts = {name.split(".")[0] for name in read_weights(saved, "checkpoint")[0]}
    assert parts == {"model", "best", "optimiser", "losses"}
    train(tmp_path / "stopped", encoder, InventedVolumes())
    assert digest_file(tmp_path / "whole/t.safetensors") == digest_file(tmp_path / "stopped/t.safetensors")


def test_the_command_trains_measures_and_draws(tmp_path, monkeypatch):
    encoder, volumes = build_encoder((12, 12, 12)), InventedVolumes(shape=(12, 12, 12))
    volumes.digest, opened = lambda: "", []
    monkeypatch.setattr(
        "braing3n.volumes.dataset.PackedVolumes", lambda *paths: opened.append(paths) or volumes
    )
    monkeypatch.chdir(tmp_path)
    write_weights(Path("mae.safetensors"), encoder.state_dict(), "MaskedAutoencoder", encoder.describe())
    Path("list").write_text("")
    given = ["--encoder", "mae.safetensors", "--volume-list", "list", "--volumes-dir", "packed"]
    given += ["--checkpoints", "runs", "--weights", "t.safetensors", "--settings", SETTINGS.as_json()]
    assert main(["tokenizer", "train", *given, "--metrics", "m.json", "--picture", "p.png"]) == 0
    assert opened == [(Path("list"), Path("packed"))]
    trained = load_model(Tokenizer, Path("t.safetensors"))
    scores = json.loads(Path("m.json").read_text())
    assert (scores["d"], scores["n_numbers_a_volume"]) == (3, 3 * 27)
    assert scores["n_parameters"] == trained.count_parameters()
    expected = measure_reconstruction(partial(reconstruct, encoder, trained), volumes, CPU, {})
    assert scores["crop"] == pytest.approx(expected["crop"], rel=1e-5)
    assert Image.open("p.png").width > 100


def test_early_stop_ends_training(tmp_path, encoder):
    """A learning rate that only does harm stops after `patience` epochs, and the start is kept."""
    options = SETTINGS.optimiser.model_copy(update={"lr": 10.0, "n_epochs": 30, "n_warmup_epochs": 0})
    settings = SETTINGS.model_copy(update={"optimiser": options})
    volumes = InventedVolumes()
    trained = train(tmp_path, encoder, volumes, settings)
    (run,) = (tmp_path / "runs").iterdir()
    assert len((run / "loss.csv").read_text().splitlines()) == 1 + 2 * settings.patience
    assert read_record(tmp_path / "t.safetensors", "Tokenizer")["n_epochs_trained"] == settings.patience
    expected = Tokenizer(settings, 12, 4, (2, 2, 2))
    initialise_from_components(expected, encoder, volumes, 4, CPU)
    assert torch.equal(trained.project.weight, expected.project.weight)


def map_ssim(image, other):
    """The index of each voxel by its definition (Wang et al. 2004), in float64: Gaussian windows of 11."""

    def blur(volume):
        return gaussian_filter(volume, sigma=1.5, radius=5)

    x, y, c1, c2 = image.astype(float), other.astype(float), (0.01 * 14.7) ** 2, (0.03 * 14.7) ** 2
    covariance = blur(x * y) - blur(x) * blur(y)
    variances = blur(x * x) - blur(x) ** 2 + blur(y * y) - blur(y) ** 2
    means = (2 * blur(x) * blur(y) + c1) / (blur(x) ** 2 + blur(y) ** 2 + c1)
    return means * (2 * covariance + c2) / (variances + c2)


def test_metrics_are_those_of_scikit_image(tmp_path):
    shape = (12, 12, 16)  # no smaller than the window of SSIM
    encoder, tokenizer = build_encoder(shape), Tokenizer(SETTINGS, 12, 4, (3, 3, 4)).requires_grad_(False)
    volumes = InventedVolumes(n=12, shape=shape)
    function = partial(reconstruct, encoder, tokenizer)
    scores = measure_reconstruction(function, volumes, CPU, {"d": 3})
    rows = np.flatnonzero(volumes.table["split"] == "test")
    assert (scores["split"], scores["n_volumes"], scores["d"]) == ("test", len(rows), 3)

    real, made = np.stack([volumes.load(i)[0] for i in rows]), []
    for image in real:
        made.append(tokenizer(encoder.encode(torch.from_numpy(image)[None, None]))[0, 0].numpy())
    made, mask = np.stack(made), volumes.mask
    window = {"data_range": 14.7, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = np.mean([structural_similarity(*pair, **window) for pair in zip(real, made, strict=True)])
    brain_ssim = np.mean([map_ssim(*pair)[mask].mean() for pair in zip(real, made, strict=True)])
    for region, x, y, similarity in (
        ("crop", real, made, ssim),
        ("brain", real[:, mask], made[:, mask], brain_ssim),
    ):
        assert scores[region]["mse"] == pytest.approx(mean_squared_error(x, y), rel=1e-5)
        psnr_db = peak_signal_noise_ratio(x, y, data_range=14.7)  # of all volumes' mean squared error
        assert scores[region]["psnr_db"] == pytest.approx(psnr_db, rel=1e-6)
        assert scores[region]["ssim"] == pytest.approx(similarity, rel=1e-5)
    draw_reconstructions(function, volumes, tmp_path / "p.png", CPU)
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_tokens_are_counted_by_their_channels():
    for d, n in (("3", 3 * 27), ("none", 12 * 27)):
        assert Tokenizer(SETTINGS.with_d(d), 12, 4, (3, 3, 3)).n_numbers == n


def test_metrics_without_test_split_say_so():
    shape = (12, 12, 12)
    volumes = InventedVolumes(n=12, shape=shape)
    volumes.table["split"] = ["train"] * 10 + ["validation"] * 2
    assert measure_reconstruction(torch.zeros_like, volumes, CPU, {})["split"] == "validation"
    volumes.table["split"] = "train"
    with pytest.raises(ConfigurationError, match="no test or validation volume"):
        measure_reconstruction(torch.zeros_like, volumes, CPU, {})


def test_widths_that_do_not_make_the_patch():
    with pytest.raises(ConfigurationError, match=r"tokenizer\.widths"):
        Tokenizer(SETTINGS, 12, 8, (2, 2, 2))


def test_wrong_weights(tokenizer, tmp_path):
    state = tokenizer.state_dict()
    state["patch_head.weight"] = state["patch_head.weight"][:, :2]
    write_weights(tmp_path / "t.safetensors", state, "Tokenizer", tokenizer.describe())
    with pytest.raises(CheckpointError, match=r"of another shape: patch_head\.weight"):
        load_model(Tokenizer, tmp_path / "t.safetensors")


def test_weights_of_before_the_patch_heads_switch_have_one(tokenizer, tmp_path):
    record = tokenizer.describe()
    del record["settings"]["has_patch_head"]
    write_weights(tmp_path / "t.safetensors", tokenizer.state_dict(), "Tokenizer", record)
    tokens = torch.randn(1, 8, 3)
    assert torch.equal(
        load_model(Tokenizer, tmp_path / "t.safetensors").decode(tokens), tokenizer.decode(tokens)
    )
