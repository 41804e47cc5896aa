"""The AutoencoderKL baseline: size, divergence, what is cached, matched compute, and that it learns."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from braing3n import training
from braing3n.cli import main
from braing3n.config import (
    Config,
    LatentsSettings,
    OptimiserSettings,
)
from braing3n.core.errors import CheckpointError, ConfigurationError
from braing3n.core.runtime import digest_file
from braing3n.nets.weights import load_model
from braing3n.sweep.baseline import Baseline
from braing3n.sweep.baselines.akl import AutoencoderKLSettings, measure_divergence
from braing3n.sweep.budget import match_budget, print_compute, set_epochs
from braing3n.sweep.cache import cache_baseline
from braing3n.sweep.train import train_baseline

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tokenizer"))
from invented import InventedVolumes
from reference import train_plainly
from small_arm import SIZES, TOKENIZER

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SETTINGS = AutoencoderKLSettings(
    channels=(8, 16),
    latent_channels=2,
    n_res_blocks=1,
    patience=99,
    optimiser=OptimiserSettings(
        lr=3e-3, batch_size=4, n_epochs=40, n_warmup_epochs=1, precision="float32", validate_every_epochs=5
    ),
)


def build(settings=SETTINGS, shape=(8, 8, 8)):
    return Baseline("akl", settings, shape)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build().requires_grad_(False)


def train(folder, volumes, settings=SETTINGS):
    source = folder / "inputs"
    source.write_text("")
    train_baseline("akl", volumes, settings, folder / "runs", folder / "a.safetensors", [source])
    return load_model(Baseline, folder / "a.safetensors")


def test_paper_size():
    with torch.device("meta"):
        net = build(AutoencoderKLSettings(), (160, 192, 160))
        latent = net.encode(torch.empty(1, 1, 160, 192, 160))
    assert latent.shape == (1, *net.latent_shape) == (1, 8, 40, 48, 40)
    assert latent.numel() == net.n_numbers == 614_400
    assert sum(net.count_parameters().values()) == 21_000_353  # field notes, of MONAI's bundle
    assert not any("attn" in name for name in net.state_dict())


def test_a_shape_that_does_not_halve_is_refused():
    with pytest.raises(ConfigurationError, match=r"sweep\.akl\.channels: .* 2 times"):
        build(AutoencoderKLSettings(channels=(8, 8, 8)), (8, 10, 8))


def test_divergence_is_that_of_torch():
    mu, sigma = torch.randn(3, 2, 4, 4, 4), torch.rand(3, 2, 4, 4, 4) + 0.1
    expected = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum((1, 2, 3, 4)).mean()
    assert measure_divergence(mu, sigma).item() == pytest.approx(expected.item(), rel=1e-5)


def test_noise_enters_by_sigma_and_the_mean_has_none(net):
    volume, noise = torch.randn(2, 1, 8, 8, 8), torch.randn(2, *net.latent_shape)
    image, penalty = net(volume, noise)
    mu, sigma = net.net.encode(volume)
    assert torch.equal(image, net.decode(mu + sigma * noise))
    assert penalty == SETTINGS.kl_weight * measure_divergence(mu, sigma) > 0
    assert torch.equal(net(volume, torch.zeros_like(noise))[0], net.reconstruct(volume))
    assert not torch.allclose(image, net.reconstruct(volume))
    assert torch.equal(net.encode(volume), mu)


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = build(SETTINGS.model_copy(update={"kl_weight": 1.0}))
        options = OptimiserSettings(recompute_activations=recompute)
        training.recompute_activations(net.list_blocks(), options)
        image, penalty = net(torch.randn(2, 1, 8, 8, 8), torch.randn(2, *net.latent_shape))
        (image.abs().mean() + penalty).backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
def test_trained_it_beats_the_mean_image(tmp_path):
    volumes = InventedVolumes(n=24)
    net = train(tmp_path, volumes)
    rows = {split: training.find_rows(volumes.table, split) for split in ("train", "test")}
    mean = np.mean([volumes.images[i] for i in rows["train"]], axis=0)
    errors = [
        (
            np.abs(net.reconstruct(torch.from_numpy(volumes.images[i])[None, None])[0, 0].numpy() - image),
            np.abs(mean - image),
        )
        for i in rows["test"]
        for image in [volumes.images[i]]
    ]
    ours, theirs = np.mean(errors, axis=(0, 2, 3, 4))
    assert ours < 0.7 * theirs


def test_losses_are_those_of_a_loop_written_anew(tmp_path):
    """Mean absolute error and, beside it, torch's own divergence of the latent from a standard normal."""
    volumes = InventedVolumes(n=15)
    more = {"lr": 0.01, "weight_decay": 0.1, "gradient_clip": 0.5, "n_epochs": 6, "validate_every_epochs": 2}
    options = SETTINGS.optimiser.model_copy(update=more)
    settings = SETTINGS.model_copy(update={"optimiser": options, "kl_weight": 0.01})
    train(tmp_path, volumes, settings)
    (path,) = tmp_path.glob("runs/*/loss.csv")
    found = np.genfromtxt(path, delimiter=",", skip_header=1)

    images = torch.from_numpy(np.stack(volumes.images))[:, None]
    rows = {split: np.flatnonzero(volumes.table["split"] == split) for split in ("train", "validation")}
    plan = training.plan_batches(rows["train"], options, settings.seed)
    torch.manual_seed(settings.seed)
    net = build(settings).net
    latent_shape = (2, 4, 4, 4)
    divergences = []

    def measure(step):
        batch = images[plan[step]]
        source = training.make_generator(settings.seed, "latent", step)
        noise = torch.randn(len(batch), *latent_shape, generator=source)
        mu, sigma = net.encode(batch)
        divergence = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum() / len(batch)
        divergences.append(0.01 * divergence.item())
        return (net.decode(mu + sigma * noise) - batch).abs().mean() + 0.01 * divergence

    losses, validation = [], []
    for loss in train_plainly(net, measure, len(plan), options):
        losses.append(loss)
        with torch.no_grad():
            unseen = images[rows["validation"]]
            validation.append((net.decode(net.encode(unseen)[0]) - unseen).abs().mean().item())
    assert min(divergences) > 0.02 * max(losses), "the divergence is seen beside the error"
    assert found[:, 1] == pytest.approx(losses, rel=1e-3)
    assert list(found[3::4, 2]) == pytest.approx(validation[3::4], rel=1e-3)  # two steps an epoch


def test_a_learning_rate_that_only_harms_stops_early_and_keeps_the_start(tmp_path):
    options = SETTINGS.optimiser.model_copy(
        update={"lr": 10.0, "n_warmup_epochs": 0, "validate_every_epochs": 1}
    )
    settings = SETTINGS.model_copy(update={"optimiser": options, "patience": 2})
    trained = train(tmp_path, InventedVolumes(), settings)
    (run,) = (tmp_path / "runs").iterdir()
    assert len((run / "loss.csv").read_text().splitlines()) == 1 + 2 * 2  # two steps an epoch
    torch.manual_seed(settings.seed)
    expected = build(settings).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trained.state_dict().items())


def test_weights_of_another_version_are_refused_in_one_sentence(net, tmp_path):
    record = net.describe()
    record["settings"]["n_levels"] = 2
    training.write_weights(tmp_path / "a.safetensors", net.state_dict(), "Baseline", record)
    with pytest.raises(CheckpointError, match=r"another version .*'n_levels'.*; train it again"):
        load_model(Baseline, tmp_path / "a.safetensors")


def test_wrong_weights(net, tmp_path):
    state = net.state_dict()
    del state["net.post_quant_conv.conv.weight"]
    training.write_weights(tmp_path / "a.safetensors", state, "Baseline", net.describe())
    with pytest.raises(CheckpointError, match=r"missing: net\.post_quant_conv\.conv\.weight"):
        load_model(Baseline, tmp_path / "a.safetensors")


def test_the_mean_is_cached_and_a_killed_job_goes_on(net, tmp_path, monkeypatch):
    volumes, settings = InventedVolumes(n=12), LatentsSettings(batch_size=5)
    (tmp_path / "inputs").write_text("x")
    given = [tmp_path / "inputs"], CPU
    monkeypatch.setattr(torch, "randn_like", lambda *_: pytest.fail("a sample was drawn"))
    cache_baseline(net, volumes, settings, tmp_path / "whole.npy", *given)
    latents = np.load(tmp_path / "whole.npy")
    assert (latents.shape, latents.dtype) == ((12, 2, 4, 4, 4), np.float16)
    for i in (0, 7, 11):
        mean = net.encode(torch.from_numpy(volumes.images[i])[None, None])
        assert np.allclose(latents[i], mean[0].numpy(), atol=2e-3)

    class Killed(BaseException):
        pass

    def die(i, out, load=volumes.load_levels):
        if i == 8:
            raise Killed
        return load(i, out)

    monkeypatch.setattr(volumes, "load_levels", die)
    with pytest.raises(Killed):
        cache_baseline(net, volumes, settings, tmp_path / "killed.npy", *given)
    assert not (tmp_path / "killed.npy").exists()
    cache_baseline(net, InventedVolumes(n=12), settings, tmp_path / "killed.npy", *given)
    assert digest_file(tmp_path / "killed.npy") == digest_file(tmp_path / "whole.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs", "killed.npy", "whole.npy"]


def test_flops_in_closed_form():
    """A multiply-add counts two; backward is twice forward, but the first layer's input has no gradient."""
    found = match_budget("akl", SETTINGS, SIZES, TOKENIZER, (8, 8, 8), "compute")

    def convolve(c_in, c_out, kernel, n_places):
        return 2 * c_in * c_out * kernel**3 * n_places

    full, half = 8**3, 4**3
    first = convolve(1, 8, 3, full)
    encoder = 2 * convolve(8, 8, 3, full) + convolve(8, 8, 3, half)
    encoder += convolve(8, 16, 3, half) + convolve(16, 16, 3, half) + convolve(8, 16, 1, half)
    encoder += convolve(16, 2, 3, half) + 2 * convolve(2, 2, 1, half)
    decoder = convolve(2, 2, 1, half) + convolve(2, 16, 3, half) + 2 * convolve(16, 16, 3, half)
    decoder += convolve(16, 16, 3, full) + convolve(16, 8, 3, full) + convolve(8, 8, 3, full)
    decoder += convolve(16, 8, 1, full) + convolve(8, 1, 3, full)
    assert found["baseline_flops_an_epoch"] == 2 * first + 3 * (encoder + decoder)


def test_epochs_are_as_many_as_the_arm_pays_for(capsys):
    found = match_budget("akl", SETTINGS, SIZES, TOKENIZER, (8, 8, 8), "compute")
    phase_2 = found["encoder_flops_an_epoch"] + found["tokenizer_flops_an_epoch"]
    assert found["arm_flops"] == (arm := 500 * found["mae_flops_an_epoch"] + 300 * phase_2)
    n_epochs = found["baseline_n_epochs"]
    assert n_epochs > 1
    assert (
        n_epochs * found["baseline_flops_an_epoch"] <= arm < (n_epochs + 1) * found["baseline_flops_an_epoch"]
    )
    print_compute("akl", found)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"akl \S+ x {n_epochs} epochs", line)


def test_at_matched_epochs_it_gets_those_of_both_phases():
    found = match_budget("akl", SETTINGS, SIZES, TOKENIZER, (8, 8, 8), "epochs")
    assert found["baseline_n_epochs"] == 500 + 300
    assert found["baseline_flops"] == 800 * found["baseline_flops_an_epoch"]


def test_the_papers_operations_pay_for_seven_epochs():
    paper = Config()
    sections = paper.sweep.akl, paper.pretrain, paper.tokenizer
    assert match_budget("akl", *sections, paper.volumes.shape, "compute")["baseline_n_epochs"] == 7


@pytest.mark.parametrize("n_epochs", [7, 180])
def test_the_warm_up_keeps_its_share_of_any_budget(n_epochs):
    """One epoch in eighty is warm-up at the paper's size: of 7 epochs of 209 steps, 18 steps."""
    options = set_epochs(AutoencoderKLSettings(), n_epochs).optimiser
    n_steps = 209 * n_epochs
    rates = [training.compute_learning_rate(step, n_steps, options) for step in range(n_steps)]
    assert options.n_epochs == n_epochs
    assert np.argmax(rates) + 1 == n_steps // 80
    assert max(rates) == options.lr


@pytest.mark.parametrize("budget", ["compute", "epochs"])
def test_the_commands_train_measure_draw_and_cache(tmp_path, monkeypatch, budget):
    volumes = InventedVolumes(shape=(12, 12, 12))  # no smaller than the window of SSIM
    volumes.digest = lambda: ""
    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", lambda *paths: volumes)
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("")
    given = ["--volume-list", "list", "--volumes-dir", ".", "--weights", "akl.safetensors"]
    arguments = ["--checkpoints", "runs", "--metrics", "metrics.json", "--picture", "picture.png"]
    mae, phase_2 = OptimiserSettings(n_epochs=20), OptimiserSettings(n_epochs=10)
    sizes, tokenizer = (
        part.model_copy(update={"optimiser": options})
        for part, options in ((SIZES, mae), (TOKENIZER, phase_2))
    )
    sections = ["--settings", SETTINGS.as_json(), "--pretrain-settings", sizes.as_json()]
    sections += ["--tokenizer-settings", tokenizer.as_json()]
    assert (
        main(["sweep", "baseline", "--name", "akl", *given, *arguments, *sections, "--budget", budget]) == 0
    )

    metrics = json.loads(Path("metrics.json").read_text())
    compute = match_budget("akl", SETTINGS, sizes, tokenizer, (12,) * 3, budget)
    assert metrics["compute"] == compute
    assert (metrics["budget"], compute["baseline_n_epochs"] == 30) == (budget, budget == "epochs")
    assert metrics["training"] == {
        "epochs": str(compute["baseline_n_epochs"]),
        "flops_a_volume": compute["baseline_flops"],
    }
    assert metrics["n_numbers_a_volume"] == 2 * 6**3
    assert metrics["brain"]["mse"] > 0
    assert Path("picture.png").stat().st_size > 1000
    (run,) = Path("runs").iterdir()
    assert len((run / "loss.csv").read_text().splitlines()) == 1 + 2 * compute["baseline_n_epochs"]

    assert main(["sweep", "cache-baseline", *given, "--latents", "l.npy", "--settings", "{}"]) == 0
    assert np.load("l.npy").shape == (12, 2, 6, 6, 6)
