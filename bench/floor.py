"""Operations, bytes and least times of every stage on an H100, and the whole paper's GPU-hours, as Markdown.

Nothing is computed: models run on tensors that have shapes and no memory. The tables stand in
docs/performance.md between two marks; --write puts them there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from torch.utils.flop_counter import flop_registry  # noqa: E402

from braing3n.config import Config  # noqa: E402
from braing3n.core.contracts import MODALITIES  # noqa: E402
from braing3n.diffusion.conditions import Vocabularies  # noqa: E402
from braing3n.diffusion.model import DiT  # noqa: E402
from braing3n.diffusion.sample import ARMS  # noqa: E402
from braing3n.pretrain.model import MaskedAutoencoder  # noqa: E402
from braing3n.sweep.baseline import Baseline  # noqa: E402
from braing3n.tokenizer.model import Tokenizer  # noqa: E402
from braing3n.training.flops import count_flops  # noqa: E402

DOC = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench/floor.py begins -->", "<!-- bench/floor.py ends -->"

# NVIDIA's data sheet of the H100 SXM, dense.
PEAK_FLOPS = {torch.bfloat16: 989e12, torch.float32: 494.5e12}  # a second; float32 as TF32
HBM_BYTES_S, PCIE_BYTES_S = 3.35e12, 64e9

# A volume's, the latter of one core; `python bench/volumes.py` prints both.
PACKED_BYTES, UNPACK_S = 2.13e6, 5.6e-3
UPDATE_BYTES = 28  # a parameter's: AdamW reads value, gradient and two moments, and writes three of them

N_GPUS = 4  # the paper's
N_VOLUMES, TRAIN_SHARE, VALIDATION_SHARE = 35_309, 0.90, 0.05
N_SWEEP_VOLUMES, SWEEP_TRAIN_SHARE = 1_100, 0.80
N_GUIDANCES = 3  # w = 1.5, 2, 3
N_PAIRS, PAIR_EPOCHS, N_FORECASTS, FORECAST_STEPS = 29_000, 75, 64 * 4, 100
PAPER_HOURS = 200

CONFIG = Config()
SWEEP_D = CONFIG.sweep.d
SHAPE = (160, 192, 160)
GRID = tuple(n // CONFIG.pretrain.patch_size for n in SHAPE)
N_TOKENS = math.prod(GRID)


# ---- counting -----------------------------------------------------------------------------------


class OperatorBound(TorchDispatchMode):
    """Bytes and least seconds where each operator runs on its own, as PyTorch runs them without a compiler.

    An operator reads its inputs and writes its outputs once; it takes as long as its operations or its
    bytes at the data sheet's rates, whichever is longer.
    """

    def __init__(self):
        super().__init__()
        self.n_bytes, self.seconds = 0, 0.0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        is_view = function.is_view or function is torch.ops.aten._unsafe_view.default
        if is_view or function.namespace == "prim" or not tensors:
            return out
        n_bytes = sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)
        count = flop_registry.get(function._overloadpacket)
        n_flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
        self.n_bytes += n_bytes
        self.seconds += max(n_bytes / HBM_BYTES_S, n_flops / PEAK_FLOPS.get(tensors[0].dtype, math.inf))
        return out


@dataclass(frozen=True)
class Cost:
    """What one volume (or sample) takes: operations, bytes, and least seconds of its operators each alone."""

    n_flops: float
    n_bytes: float
    seconds: float

    @property
    def floor_s(self) -> float:
        """Seconds at the peak of the tensor cores in bfloat16."""
        return self.n_flops / PEAK_FLOPS[torch.bfloat16]

    def times(self, n: float) -> Cost:
        """The cost of n of these."""
        return Cost(n * self.n_flops, n * self.n_bytes, n * self.seconds)

    def plus(self, other: Cost) -> Cost:
        """The cost of both."""
        return Cost(self.n_flops + other.n_flops, self.n_bytes + other.n_bytes, self.seconds + other.seconds)


def measure(step: Callable[[int], nn.Module], batch: int, has_autocast: bool = True) -> Cost:
    """The cost a volume of a step, of `batch` volumes; a step that leaves gradients is followed by AdamW."""
    n_flops = count_flops(lambda: step(1))  # of one, since a volume's do not depend on the batch
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_autocast):
        with OperatorBound() as bound:
            net = step(batch)
        trained = [p for p in net.parameters() if p.grad is not None]
    n_bytes = UPDATE_BYTES * sum(p.numel() for p in trained)
    return Cost(n_flops, (bound.n_bytes + n_bytes) / batch, (bound.seconds + n_bytes / HBM_BYTES_S) / batch)


# ---- the stages ---------------------------------------------------------------------------------


def build_mae() -> MaskedAutoencoder:
    """The paper's encoder and its decoder."""
    return MaskedAutoencoder(CONFIG.pretrain, SHAPE)


def build_tokenizer(d: int | str) -> Tokenizer:
    """The paper's projection and CNN decoder."""
    return Tokenizer(CONFIG.tokenizer.with_d(d), CONFIG.pretrain.width, CONFIG.pretrain.patch_size, GRID)


def build_dit() -> DiT:
    """The paper's diffusion transformer."""
    options = CONFIG.diffusion
    sites = tuple(str(i) for i in range(options.n_sites))
    names = Vocabularies(tuple(options.diseases), ("F", "M"), MODALITIES, sites, ("wildtype", "mutant"))
    return DiT(options, names, CONFIG.tokenizer.d, GRID)


def build_akl() -> Baseline:
    """The autoencoder of Table 5."""
    return Baseline("akl", CONFIG.sweep.akl, SHAPE)


def train_mae(n: int) -> nn.Module:
    """A step of the masked autoencoder."""
    net = build_mae()
    net(torch.zeros(n, 1, *SHAPE), torch.rand(n, N_TOKENS)).backward()
    return net


@torch.no_grad()
def encode(n: int) -> nn.Module:
    """All tokens of n volumes."""
    net = build_mae().requires_grad_(False)
    net.encode(torch.zeros(n, 1, *SHAPE))
    return net


def train_tokenizer(n: int, d: int) -> nn.Module:
    """A step of the projection and the decoder, on tokens that are there."""
    net = build_tokenizer(d)
    image = net(torch.zeros(n, N_TOKENS, CONFIG.pretrain.width))
    nn.functional.l1_loss(image.float(), torch.zeros(n, 1, *SHAPE)).backward()
    return net


@torch.no_grad()
def decode(n: int) -> nn.Module:
    """Tokens to n volumes."""
    net = build_tokenizer(CONFIG.tokenizer.d).requires_grad_(False)
    net.decode(torch.zeros(n, N_TOKENS, CONFIG.tokenizer.d))
    return net


def train_akl(n: int) -> nn.Module:
    """A step of the autoencoder of Table 5."""
    net = build_akl()
    image, penalty = net(torch.zeros(n, 1, *SHAPE), torch.zeros(n, *net.latent_shape))
    (nn.functional.l1_loss(image.float(), torch.zeros(n, 1, *SHAPE)) + penalty).backward()
    return net


def _invent_conditions(n: int) -> tuple[Tensor, ...]:
    return torch.zeros(n), torch.zeros(n, 5, dtype=torch.int64), torch.zeros(n)


def train_dit(n: int) -> nn.Module:
    """A step of the diffusion transformer."""
    net, tokens = build_dit(), torch.zeros(n, N_TOKENS, CONFIG.tokenizer.d)
    nn.functional.mse_loss(net(tokens, *_invent_conditions(n)).float(), tokens).backward()
    return net


@torch.no_grad()
def guide(n: int) -> nn.Module:
    """One guided Euler step of n samples."""
    net = build_dit().requires_grad_(False)
    net.guide(torch.zeros(n, N_TOKENS, CONFIG.tokenizer.d), *_invent_conditions(n), 2.0)
    return net


@cache
def count_costs() -> dict[str, Cost]:
    """The cost a volume of every stage, at the batch that one of the paper's GPUs takes."""
    mae, tokenizer, dit = (
        part.optimiser.batch_size // N_GPUS for part in (CONFIG.pretrain, CONFIG.tokenizer, CONFIG.diffusion)
    )
    encoded, guided = measure(encode, tokenizer), measure(guide, CONFIG.diffusion.sampling.batch_size)
    trained = {d: measure(lambda n, d=d: train_tokenizer(n, d), tokenizer) for d in SWEEP_D}
    return {
        "MAE training": measure(train_mae, mae),
        "encode": encoded,
        **{f"tokenizer training, d = {d}": cost.plus(encoded) for d, cost in trained.items()},
        "latents cache": measure(encode, CONFIG.latents.batch_size, has_autocast=False),
        "AKL training": measure(train_akl, 1),
        "DiT training": measure(train_dit, dit),
        "sample": guided.times(CONFIG.diffusion.sampling.n_steps),
        "decode": measure(decode, CONFIG.fidelity.batch_size, has_autocast=False),
    }


# ---- the tables ---------------------------------------------------------------------------------


def write_table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def describe_models() -> str:
    """Parameters and what they take in memory and on disk."""
    rows = []
    with torch.device("meta"):
        nets = {
            "MAE, encoder and decoder": (build_mae(), 0),
            "tokenizer, d = 32 (and its best)": (build_tokenizer(32), 1),
            "AKL": (build_akl(), 0),
            "DiT (and its average)": (build_dit(), 1),
        }
    for name, (net, n_copies) in nets.items():
        n = sum(p.numel() for p in net.parameters())
        sizes = (4 * n, 4 * n, 8 * n, 4 * n * (3 + n_copies))  # float32
        rows.append([name, f"{n / 1e6:.1f}", *(f"{size / 1e9:.2f}" for size in sizes)])
    return write_table(
        ["model", "parameters, M", "weights, GB", "gradients, GB", "AdamW's moments, GB", "checkpoint, GB"],
        rows,
    )


def describe_stages(costs: dict[str, Cost]) -> str:
    """Operations, bytes and least times a volume."""
    rows = []
    for name, cost in costs.items():
        ceiling = f"{cost.floor_s / cost.seconds:.0%}"
        numbers = f"{cost.n_flops / 1e12:.2f}", f"{cost.n_bytes / 1e9:.2f}", f"{1000 * cost.floor_s:.2f}"
        rows.append([name, *numbers, f"{1000 * cost.seconds:.2f}", ceiling])
    return write_table(
        ["a volume of", "TFLOP", "GB", "floor, ms", "each operator alone, ms", "best utilisation"], rows
    )


def describe_input(costs: dict[str, Cost], utilisation: float) -> str:
    """What feeding one GPU takes."""
    voxels = math.prod(SHAPE)
    rows = []
    for name in ("MAE training", "tokenizer training, d = 32", "latents cache"):
        rate = min(utilisation / costs[name].floor_s, 1 / costs[name].seconds)
        read, sent = rate * PACKED_BYTES / 1e9, rate * 2 * voxels / 1e9
        share, n_cores = f"{sent * 1e9 / PCIE_BYTES_S:.0%}", f"{rate * UNPACK_S:.1f}"
        rows.append([name, f"{rate:.0f}", f"{read:.2f}", n_cores, f"{sent:.2f}", share])
    head = ["stage", "volumes a second", "read, GB/s", "cores that unpack", "sent, GB/s", "of PCIe 5.0 x16"]
    return write_table(head, rows)


def describe_files() -> str:
    """What lies on disk."""
    tokens = 2 * N_TOKENS * N_VOLUMES  # bytes a channel, float16
    n_sweep = 2 * N_TOKENS * N_SWEEP_VOLUMES
    rows = {
        "packed volumes, all": PACKED_BYTES * N_VOLUMES,
        f"tokens, d = {CONFIG.tokenizer.d}, float16, all": tokens * CONFIG.tokenizer.d,
        "mean features, float32, all": 4 * CONFIG.pretrain.width * N_VOLUMES,
        f"tokens of the sweep, none projected, float16, {N_SWEEP_VOLUMES} volumes": n_sweep
        * CONFIG.pretrain.width,
    }
    return write_table(["file", "GB"], [[name, f"{size / 1e9:.2f}"] for name, size in rows.items()])


def add_up_paper(costs: dict[str, Cost]) -> dict[str, Cost]:
    """What the whole paper's models take, by stage; a validation pass counts as a third of a training one."""
    n_train, n_validation = (round(share * N_VOLUMES) for share in (TRAIN_SHARE, VALIDATION_SHARE))
    n_sweep = round(SWEEP_TRAIN_SHARE * N_SWEEP_VOLUMES)
    mae, tokenizer, dit = (part.optimiser for part in (CONFIG.pretrain, CONFIG.tokenizer, CONFIG.diffusion))

    def train(name: str, n: int, options, n_checked: int = 0) -> Cost:
        passes = options.n_epochs * n + options.n_epochs / options.validate_every_epochs * n_checked / 3
        return costs[name].times(passes)

    arm = "tokenizer training, d = 32"
    sweep_mae = train("MAE training", n_sweep, mae)
    akl = sweep_mae.plus(train(arm, n_sweep, tokenizer))  # matched compute, by operations
    n_akl = akl.n_flops / costs["AKL training"].n_flops
    sweep = [train(f"tokenizer training, d = {d}", n_sweep, tokenizer) for d in SWEEP_D]
    n_samples = len(ARMS) * CONFIG.diffusion.sampling.n_samples * N_GUIDANCES
    sampled = costs["sample"].plus(costs["decode"]).plus(costs["latents cache"])
    forecast = costs["sample"].times(FORECAST_STEPS / CONFIG.diffusion.sampling.n_steps)
    pairs = costs["DiT training"].times(TRAIN_SHARE * N_PAIRS * PAIR_EPOCHS)
    return {
        f"MAE, {mae.n_epochs} epochs": train("MAE training", n_train, mae, n_validation),
        f"tokenizer, {tokenizer.n_epochs} epochs": train(arm, n_train, tokenizer, n_validation),
        "latents, and an untrained encoder's features": costs["latents cache"].times(2 * N_VOLUMES),
        f"DiT, {dit.n_epochs} epochs": train("DiT training", n_train, dit, n_validation),
        f"{n_samples} samples, decoded and encoded": sampled.times(n_samples),
        "longitudinal DiT and forecasts (costs as the DiT's)": pairs.plus(
            forecast.plus(costs["decode"]).times(N_FORECASTS)
        ),
        "Table 5: MAE": sweep_mae,
        "Table 5: four tokenizers": reduce(Cost.plus, sweep),
        f"Table 5: AKL, {n_akl / n_sweep:.1f} epochs (as many operations)": costs["AKL training"].times(
            n_akl
        ),
    }


def predict_hours(cost: Cost, utilisation: float) -> float:
    """GPU-hours at a utilisation, or at the pace of the operators each alone, where that is slower."""
    return max(cost.floor_s / utilisation, cost.seconds) / 3600


def describe_paper(costs: dict[str, Cost], utilisation: float) -> str:
    """GPU-hours of the whole paper."""
    paper, rows = add_up_paper(costs), []
    hours = {name: predict_hours(cost, utilisation) for name, cost in paper.items()}
    paper["all"], hours["all"] = reduce(Cost.plus, paper.values()), sum(hours.values())
    for name, cost in paper.items():
        numbers = cost.n_flops / 1e18, cost.floor_s / 3600, cost.seconds / 3600, hours[name]
        rows.append([name, *(f"{number:.3f}" for number in numbers), f"{hours[name] / hours['all']:.1%}"])
    head = [
        "stage",
        "EFLOP",
        "floor, h",
        "each operator alone, h",
        f"predicted at {utilisation:.0%}, h",
        "share",
    ]
    ratio, largest = PAPER_HOURS / hours.pop("all"), max(hours, key=hours.get)
    described = f"The paper reports about {PAPER_HOURS} H100-hours: {ratio:.1f} times our prediction"
    return write_table(head, rows) + f"\n{described}. Our largest stage is: {largest}.\n"


def describe(utilisation: float) -> str:
    """All tables."""
    costs = count_costs()
    parts = {
        "Operations, bytes and least times a volume": describe_stages(costs),
        "The whole paper": describe_paper(costs, utilisation),
        f"Feeding one GPU at {utilisation:.0%}": describe_input(costs, utilisation),
        "Parameters": describe_models(),
        "Files": describe_files(),
    }
    return "\n".join(f"### {title}\n\n{text}" for title, text in parts.items())


def main() -> int:
    """Print the tables, or put them into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that is reached")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    text = describe(options.utilisation)
    if options.write:
        before, rest = DOC.read_text().split(BEGIN)
        DOC.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
