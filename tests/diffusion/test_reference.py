"""Training and sampling against the formulas written anew, in float64; and each formula's faults are seen."""

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from braing3n import training
from braing3n.config import DiffusionSettings, OptimiserSettings
from braing3n.diffusion import sample as sampling
from braing3n.diffusion.conditions import Vocabularies
from braing3n.diffusion.model import DiT
from braing3n.diffusion.settings import SamplingSettings
from braing3n.diffusion.train import Latents, draw_noise, train_dit
from braing3n.nets.weights import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes

pytestmark = pytest.mark.usefixtures("one_thread")

GRID, D, SEED = (2, 2, 2), 3, 7
SETTINGS = DiffusionSettings(
    depth=2,
    width=12,
    n_heads=2,
    diseases=("HC", "AD"),
    n_sites=2,
    condition_dropout=0.2,
    joint_dropout=0.3,
    modality_balance=0.5,
    sampling=SamplingSettings(guidance=1.7, n_steps=5, seed=SEED, precision="float32"),
    ema_decay=0.8,
    seed=SEED,
    optimiser=OptimiserSettings(
        lr=2e-2,
        batch_size=4,
        n_epochs=12,
        n_warmup_epochs=3,
        weight_decay=0.1,
        gradient_clip=0.1,
        betas=(0.9, 0.999),
        precision="float32",
    ),
)
FAULTS = (
    "target reversed",
    "interpolant reversed",
    "no condition dropout",
    "average of the last two steps",
    "time not stretched",
    "vocabularies from everybody",
    "schedule never applied",
    "clipping ignored",
    "modalities not balanced",
)


@pytest.fixture(scope="module")
def latents():
    """Eight training volumes of two diseases, and four others from a site that is larger than theirs."""
    labels = InventedVolumes().table.assign(idh1=["", "mutant", "wildtype"] * 4)
    labels["site"] = ["a", "a", "b", "a", "c", "b", "a", "b"] + ["d"] * 4
    labels.loc[3, "age_years"] = np.nan
    rng = np.random.default_rng(0)
    places = rng.normal(0, 3, (1, 8, D))  # the mean image
    person = (
        rng.normal(0, [1, 2, 0.5], (len(labels), 8, D)) + (labels["dx"] == "AD").to_numpy()[:, None, None]
    )
    return Latents((places + person).astype(np.float16), GRID, labels)


# ---- the formulas ------------------------------------------------------------------------------------


def sinusoids(values, n=256):
    """Vaswani et al. 2017: sines, then cosines, of values times 10000^(-k / (n / 2))."""
    angles = values[:, None] * torch.tensor([10000 ** (-k / (n // 2)) for k in range(n // 2)]).double()
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def normalise(x, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)


def compute_velocity(net, w, x, t, codes, age_years, time_scale=1000.0):
    """Peebles & Xie 2023, figure 3, adaLN-Zero, with the weights `w` of a DiT `net` in float64."""

    def linear(name, value):
        return value @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def embed(name, value):
        return linear(f"{name}.layers.2", functional.silu(linear(f"{name}.layers.0", sinusoids(value))))

    age = embed("conditions.age", torch.nan_to_num(age_years) / 10)  # decades
    condition = torch.where(age_years.isnan()[:, None], w["conditions.null_age"], age)
    for i in range(5):
        condition = condition + w[f"conditions.tables.{i}.weight"][codes[:, i]]
    condition = functional.silu(condition + embed("time", time_scale * t))[:, None]
    at, variance = t[:, None, None], net.token_variance.double()
    # E[data - noise | x] of each number alone
    skip = (at * variance - (1 - at)) / (at**2 * variance + (1 - at) ** 2) * x
    x = linear("embed", x) + net.positions.double()
    b, n, width = x.shape
    n_heads = net.settings.n_heads
    for k in range(net.settings.depth):
        name = f"blocks.{k}"
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(f"{name}.modulate", condition).chunk(6, dim=-1)
        h = normalise(x, net.norm.eps) * (1 + scale1) + shift1
        q, key, value = linear(f"{name}.attention.qkv", h).reshape(b, n, 3, n_heads, -1).unbind(2)
        weights = torch.einsum("bihc,bjhc->bhij", q, key) / (width / n_heads) ** 0.5
        mixed = torch.einsum("bhij,bjhc->bihc", weights.softmax(-1), value).reshape(b, n, width)
        x = x + gate1 * linear(f"{name}.attention.project", mixed)
        h = normalise(x, net.norm.eps) * (1 + scale2) + shift2
        hidden = linear(f"{name}.mlp.0", h)
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))  # GELU
        x = x + gate2 * linear(f"{name}.mlp.2", hidden)
    shift, scale = linear("modulate", condition).chunk(2, dim=-1)
    return skip + linear("leave", normalise(x, net.norm.eps) * (1 + scale) + shift)


def encode(labels, vocabularies):
    """Codes and ages; the number of classes is the code of what is empty or unknown."""
    columns = zip(("dx", "sex", "modality", "site", "idh1"), vocabularies, strict=True)
    codes = [
        [names.index(label) if label in names else len(names) for label in labels[column]]
        for column, names in columns
    ]
    return torch.tensor(codes).T, torch.tensor(labels["age_years"].to_numpy()).double()


def standardise(tokens, rows, modality):
    """By modality: less the mean of the n training volumes, over the deviation of one volume more from it."""
    out, squares = tokens.copy(), 0
    scales = {}
    for name in set(modality):
        n = len(own := [i for i in rows if modality[i] == name])
        mean = tokens[own].mean(0)
        scales[name] = mean, np.sqrt(tokens[own].var(0, ddof=1).mean() * (1 + 1 / n))
        out[modality == name] = (tokens[modality == name] - mean) / scales[name][1]
        squares = squares + (out[own] ** 2).sum(0)
    return torch.from_numpy(out), (torch.from_numpy(squares / squares.mean()), scales)


def compute_errors(net, w, data, drawn, given, fault):
    """Each volume's mean squared error of the velocity, its conditions dropped as drawn."""
    noise, t, chance = drawn
    codes, age_years, nulls = given
    codes, age_years = codes.clone(), age_years.clone()
    for i in range(len(data) if fault != "no condition dropout" else 0):
        for column, is_dropped in zip((0, 1, 3, 4), chance[i, :4] < 0.2, strict=True):
            if is_dropped or chance[i, 5] < 0.3:
                codes[i, column] = nulls[column]
        if chance[i, 4] < 0.2 or chance[i, 5] < 0.3:
            age_years[i] = torch.nan
    share = t[:, None, None] if fault != "interpolant reversed" else 1 - t[:, None, None]
    target = data - noise if fault != "target reversed" else noise - data
    scale = 1000.0 if fault != "time not stretched" else 1.0
    x = (1 - share) * noise + share * data
    return ((compute_velocity(net, w, x, t, codes, age_years, scale) - target) ** 2).mean((1, 2))


def train_reference(latents, fault=""):
    """The averaged weights after training in float64, with one formula wrong where a fault is named."""
    options, labels = SETTINGS.optimiser, latents.labels
    rows = np.flatnonzero(labels["split"] == "train")
    sites = Counter(labels["site"] if fault == "vocabularies from everybody" else labels["site"].iloc[rows])
    frequent = tuple(sorted(sites, key=lambda site: (-sites[site], site))[:2])
    vocabularies = (
        SETTINGS.diseases,
        ("F", "M"),
        ("T1", "T1c", "T2", "FLAIR"),
        frequent,
        ("wildtype", "mutant"),
    )
    codes, age_years = encode(labels, vocabularies)
    nulls = torch.tensor([len(names) for names in vocabularies])

    torch.manual_seed(SEED)
    net = DiT(SETTINGS, Vocabularies(*vocabularies), D, GRID)  # where training starts
    w = {name: value.detach().double().requires_grad_() for name, value in net.named_parameters()}
    decayed, others = ([p for p in w.values() if (p.ndim > 1) == is_matrix] for is_matrix in (True, False))
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=options.betas)
    average = {name: value.detach().clone() for name, value in w.items()}

    tokens = latents.tokens.astype(np.float64)
    data, (net.token_variance, *_) = standardise(tokens, rows, labels["modality"])
    n = labels["modality"].map(Counter(labels["modality"].iloc[rows])).to_numpy()
    weights = torch.from_numpy(n**-0.5 / (n[rows] ** -0.5).mean())
    if fault == "modalities not balanced":
        weights = torch.ones(len(n))
    plan = training.plan_batches(rows, options, SEED)
    n_warmup = len(plan) * 3 // 12
    for step, batch in enumerate(plan):
        drawn = [part.double() for part in draw_noise(4, (8, D), SEED, "flow", step)]
        given = (codes[batch], age_years[batch], nulls)
        errors = compute_errors(net, w, data[batch], drawn, given, fault)
        optimiser.zero_grad()
        (weights[batch] * errors).mean().backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in w.values()))
        if norm > 0.1 and fault != "clipping ignored":
            for p in w.values():
                p.grad *= 0.1 / norm
        for group in optimiser.param_groups:
            share = (step - n_warmup) / (len(plan) - n_warmup)
            factor = (step + 1) / n_warmup if step < n_warmup else (1 + np.cos(np.pi * share)) / 2
            group["lr"] = options.lr * (factor if fault != "schedule never applied" else 1.0)
        optimiser.step()
        decay = 0.5 if fault == "average of the last two steps" else min(0.8, (1 + step) / (10 + step))
        for name in average:
            average[name] = decay * average[name] + (1 - decay) * w[name].detach()
    return net, average, (codes, age_years)


# ---- training ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(latents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dit")
    (folder / "inputs").write_text("")
    train_dit(latents, SETTINGS, folder / "runs", folder / "dit.safetensors", [folder / "inputs"])
    return load_model(DiT, folder / "dit.safetensors")


def compare(trained, latents, fault):
    """The gap between the trained model's velocities and the reference's, over the latter's size."""
    net, average, (codes, age_years) = train_reference(latents, fault)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(len(codes), 8, D, generator=generator)
    t = torch.rand(len(codes), generator=generator)
    scale = 1.0 if fault == "time not stretched" else 1000.0
    with torch.no_grad():
        wanted = compute_velocity(net, average, x.double(), t.double(), codes, age_years, scale)
        given_codes, given_age = trained.vocabularies.encode(sampling.read_conditions(latents.labels))
        found = trained(x, t, given_codes, given_age).double()
    return ((found - wanted).norm() / wanted.norm()).item()


def test_training_is_that_of_the_formulas(trained, latents):
    assert compare(trained, latents, "") < 1e-3  # of 24 steps of AdamW in float32


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_formula_ends_elsewhere(trained, latents, fault):
    assert compare(trained, latents, fault) > 5e-3


def test_the_validation_loss_is_of_held_out_volumes_with_all_their_conditions(latents, tmp_path, capsys):
    options = SETTINGS.optimiser.model_copy(update={"validate_every_epochs": 12})
    settings = SETTINGS.model_copy(update={"optimiser": options})
    (tmp_path / "inputs").write_text("")
    train_dit(latents, settings, tmp_path / "runs", tmp_path / "dit.safetensors", [tmp_path / "inputs"])
    net, labels = load_model(DiT, tmp_path / "dit.safetensors"), latents.labels
    words = (*(getattr(net.vocabularies, name) for name in ("disease", "sex", "modality", "site", "idh1")),)
    codes, age_years = encode(labels, words)
    rows = np.flatnonzero(labels["split"] == "train")
    data, (net.token_variance, *_) = standardise(latents.tokens.astype(float), rows, labels["modality"])
    w, errors = {name: value.double() for name, value in net.named_parameters()}, []
    for row in np.flatnonzero(labels["split"] == "validation"):
        noise, t, _ = (part.double() for part in draw_noise(1, (8, D), SEED, "validation", int(row)))
        one = slice(row, row + 1)
        given, kept = (codes[one], age_years[one], None), torch.ones(1, 6)
        errors.append(compute_errors(net, w, data[one], (noise, t, kept), given, "").item())
    assert len(errors) == 2
    printed = re.findall(r"validation loss ([\d.]+)", "".join(capsys.readouterr()))
    assert float(printed[-1]) == pytest.approx(np.mean(errors), abs=2e-4)


def test_vocabularies_hold_what_the_training_split_holds(trained):
    assert trained.vocabularies.site == ("a", "b")  # not d, the largest, which is held out


# ---- sampling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1, 3])
def test_samples_are_euler_steps_along_the_guided_velocity(trained, latents, shift, monkeypatch):
    """From the noise at t = 0, the velocity of t = 0, 1/5, ... 4/5, each read before its step.

    With a shift the share of noise s is 3 s / (1 + 2 s) in place of s (Esser et al. 2024, equation 23).
    """
    noise = 1 - np.arange(6) / 5
    times = 1 - shift * noise / (1 + (shift - 1) * noise)
    arm = sampling.Arm("any", "T1", disease="AD", age_years=60.0)
    table = sampling.list_samples([arm], 3)
    monkeypatch.setattr(trained, "settings", SETTINGS.model_copy(update={"time_shift": shift}))
    found = sampling.sample_tokens(trained, table, SETTINGS.sampling, torch.device("cpu")).numpy()
    w = {name: value.double() for name, value in trained.named_parameters()}
    x = torch.stack([sampling.draw_start(name, SEED, trained) for name in table["sample_id"]]).double()
    codes, null_codes = torch.tensor([[1, 2, 0, 2, 2]] * 3), torch.tensor([[2, 2, 0, 2, 2]] * 3)
    age, null_age = torch.full((3,), 60.0).double(), torch.full((3,), torch.nan).double()
    for step in range(5):
        t = torch.full((3,), times[step]).double()
        conditional = compute_velocity(trained, w, x, t, codes, age)
        unconditional = compute_velocity(trained, w, x, t, null_codes, null_age)
        x = x + (unconditional + 1.7 * (conditional - unconditional)) * (times[step + 1] - times[step])
    rows = np.flatnonzero(latents.labels["split"] == "train")
    _, (_, scales) = standardise(latents.tokens.astype(np.float64), rows, latents.labels["modality"])
    mean, deviation = scales["T1"]
    np.testing.assert_allclose(found, x.numpy() * deviation + mean, rtol=1e-3, atol=1e-3)
