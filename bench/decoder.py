"""Train the tokenizer's decoder at 80 x 96 x 80 voxels: ours against MONAI's Decoder.

Both read the same tokens: 5 x 6 x 5 of 32 numbers, principal components of phantoms' patches. First one
step (batch 1, L1, AdamW, float32, CPU), each side in processes of its own, by turns: median seconds, and
peak memory above the imports, and the share of what the machine can do (see bench/mae.py). Then L1 on
held-out phantoms after equal steps: the same volumes in the same order and the same learning rate, for
both in bfloat16 and channels-last, since the peer's steps take twice as long in float32. Ours is the
decoder with its start, the linear least-squares patch head: that is part of the design, so it is counted
as ours, and its L1 is printed as that of step 0. Exits 1 short of a target.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from peers.sides import Targets, build_parser, compare_sides  # noqa: E402

TARGETS, MAX_L1_RATIO = Targets(time_ratio=0.6, memory_ratio=0.6, share=0.75), 1.0
SHAPE, SPACING_MM, PATCH_SIZE, D = (80, 96, 80), 2.0, 16, 32
GRID = tuple(n // PATCH_SIZE for n in SHAPE)
N_VOXELS, N_HELD_OUT = PATCH_SIZE**3, 8
LR = 1e-4


def build_ours():
    """Our tokenizer, whose "encoder" are the patches themselves; its projection is not trained here."""
    from braing3n.tokenizer.model import Tokenizer
    from braing3n.tokenizer.settings import TokenizerSettings

    tokenizer = Tokenizer(TokenizerSettings(d=D), N_VOXELS, PATCH_SIZE, GRID)
    tokenizer.project.requires_grad_(False)
    return tokenizer


def build_peer():
    """MONAI's decoder: four doublings, without attention, with convolutions at full resolution."""
    from monai.networks.nets.autoencoderkl import Decoder

    channels = (64, 128, 160, 256, 448)
    return Decoder(
        spatial_dims=3,
        channels=channels,
        in_channels=D,
        out_channels=1,
        num_res_blocks=[1] * len(channels),
        norm_num_groups=32,
        norm_eps=1e-6,
        attention_levels=[False] * len(channels),
        with_nonlocal_attn=False,
    )


def decode(model, tokens):
    """Tokens (B, T, D) to volumes (B, 1, D, H, W), by either side."""
    if hasattr(model, "decode"):
        return model.decode(tokens).float()
    return model(tokens.transpose(1, 2).reshape(len(tokens), D, *GRID)).float()


def prepare_step(build) -> tuple:
    """A side's module, and what computes its loss on noise."""
    import torch
    from torch.nn import functional

    model = build()
    if hasattr(model, "project"):
        del model.project  # the decoder alone is compared
    n_tokens = GRID[0] * GRID[1] * GRID[2]
    tokens, volume = torch.randn(1, n_tokens, D), torch.randn(1, 1, *SHAPE)
    return model, lambda: functional.l1_loss(decode(model, tokens), volume)


def draw_phantoms(n_people: int):
    """Phantom brains (N, 1, D, H, W), z-scored."""
    import torch

    from braing3n.core.resources import fetch
    from braing3n.core.settings import ResourceSettings
    from braing3n.phantoms.miniature import render_preprocessed

    wheels = [fetch(name, ResourceSettings()) for name in ("brain-templates", "head-template")]
    volumes, _, _ = render_preprocessed(n_people, 1, *wheels, shape=SHAPE, spacing_mm=SPACING_MM)
    return torch.from_numpy(volumes)[:, None]


def start_ours(train):
    """Our tokenizer at its start, fitted to training phantoms: their patches' components, least squares."""
    import torch

    from braing3n.pretrain.model import patchify
    from braing3n.tokenizer.initial_weights import Moments, initialise_from_moments

    moments = Moments(N_VOXELS, N_VOXELS, torch.device("cpu"))
    patches = patchify(train, PATCH_SIZE).flatten(0, 1)
    moments.add(patches, patches)
    torch.manual_seed(0)
    tokenizer = build_ours()
    initialise_from_moments(tokenizer, moments)
    return tokenizer


def train_side(name: str, model, pairs: dict, n_steps: int) -> float:
    """L1 on held-out phantoms after n_steps; pairs: "train" and "held out" -> (tokens, volumes)."""
    import torch
    from torch.nn import functional

    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, fused=True)
    tokens, volumes = pairs["train"]
    order = torch.randint(len(volumes), (n_steps,), generator=torch.Generator().manual_seed(0)).tolist()
    print(f"{name}: held-out L1 at step 0: {measure_l1(model, *pairs['held out']):.4f}", flush=True)
    start = time.monotonic()
    for step, i in enumerate(order, start=1):
        with torch.autocast("cpu", torch.bfloat16):
            image = decode(model, tokens[i : i + 1])
        functional.l1_loss(image, volumes[i : i + 1]).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == n_steps:
            l1 = measure_l1(model, *pairs["held out"])
            print(f"{name}: step {step}, held-out L1 {l1:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    return l1


def measure_l1(model, tokens, volumes) -> float:
    """The mean absolute error over all voxels of volumes (N, 1, D, H, W), in z units."""
    import torch
    from torch.nn import functional

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        errors = [
            functional.l1_loss(decode(model, t[None]), v[None]) for t, v in zip(tokens, volumes, strict=True)
        ]
    return torch.stack(errors).mean().item()


def compare_l1(n_people: int, n_steps: int) -> bool:
    """Train both sides on the same phantoms, and compare on the last N_HELD_OUT of them."""
    import torch

    from braing3n.pretrain.model import patchify

    volumes = draw_phantoms(n_people)
    train, held_out = volumes[:-N_HELD_OUT], volumes[-N_HELD_OUT:]
    ours = start_ours(train)
    with torch.no_grad():
        pairs = {
            split: (ours.project(patchify(part, PATCH_SIZE)), part)
            for split, part in (("train", train), ("held out", held_out))
        }
    torch.manual_seed(0)
    peer = build_peer().to(memory_format=torch.channels_last_3d)
    sides = {"ours": ours, "monai": peer}
    l1 = {name: train_side(name, model, pairs, n_steps) for name, model in sides.items()}
    ratio = l1["ours"] / l1["monai"]
    print(f"held-out L1 after {n_steps} steps: ratio {ratio:.3f} (at most {MAX_L1_RATIO})")
    return ratio <= MAX_L1_RATIO


def main() -> int:
    """Compare steps, then what 300 of them learn."""
    parser = build_parser(__doc__)
    parser.add_argument("--train-steps", type=int, default=300, help="steps before L1 is compared; 0: do not")
    parser.add_argument("--people", type=int, default=40, help=f"phantoms, of which {N_HELD_OUT} held out")
    options = parser.parse_args()
    builders = {"ours": lambda: prepare_step(build_ours), "monai": lambda: prepare_step(build_peer)}
    is_met = compare_sides(__file__, options, builders, TARGETS)
    if options.train_steps:
        import torch

        torch.set_num_threads(options.threads)
        is_met &= compare_l1(options.people, options.train_steps)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
