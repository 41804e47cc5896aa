"""One training step of one volume without a GPU, by model: seconds, and the process's peak memory.

MAE, and tokenizer with its frozen encoder, at the paper's 160 x 192 x 160 voxels, the AKL at 80 x 96 x 80;
float32, AdamW, each in a process of its own. Exits 1 where one takes more than a machine of 24 GB has.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402
from peers.sides import measure_steps, summarise  # noqa: E402

from braing3n.core.runtime import count_cpus  # noqa: E402

SHAPE, AKL_SHAPE, MAX_GB = (160, 192, 160), (80, 96, 80), 24.0


def build_mae() -> tuple:
    """The masked autoencoder, and what computes its loss."""
    import torch

    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.pretrain.settings import PretrainSettings

    net, volume = MaskedAutoencoder(PretrainSettings(), SHAPE), torch.randn(1, 1, *SHAPE)
    return net, lambda: net(volume, torch.rand(1, net.n_tokens))


def build_tokenizer() -> tuple:
    """Projection and decoder, and what computes their loss behind the frozen encoder."""
    import torch
    from torch.nn import functional

    from braing3n.tokenizer.model import Tokenizer
    from braing3n.tokenizer.settings import TokenizerSettings

    encoder = build_mae()[0].eval().requires_grad_(False)
    options = encoder.settings
    net = Tokenizer(TokenizerSettings(), options.width, options.patch_size, encoder.grid)
    volume = torch.randn(1, 1, *SHAPE)

    def measure_loss():
        with torch.no_grad():
            features = encoder.encode(volume)
        return functional.l1_loss(net(features), volume)

    return net, measure_loss


def build_akl() -> tuple:
    """The AutoencoderKL, and what computes its loss."""
    import torch
    from torch.nn import functional

    from braing3n.sweep.baseline import Baseline
    from braing3n.sweep.baselines.akl import SETTINGS

    net, volume = Baseline("akl", SETTINGS(), AKL_SHAPE), torch.randn(1, 1, *AKL_SHAPE)

    def measure_loss():
        image, penalty = net(volume, torch.randn(1, *net.latent_shape))
        return functional.l1_loss(image, volume) + penalty

    return net, measure_loss


MODELS = {"mae": (build_mae, SHAPE), "tokenizer": (build_tokenizer, SHAPE), "akl": (build_akl, AKL_SHAPE)}


def main() -> int:
    """Take a step of each model in a process of its own; compare with the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--threads", type=int, default=count_cpus())
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        found = measure_steps(MODELS[options.model][0], 1, options.threads)
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps(found))
        return 0
    print(describe_processor(), flush=True)
    is_met = True
    for name in options.models:
        command = [sys.executable, __file__, "--model", name, "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        size = " x ".join(map(str, MODELS[name][1]))
        text = f"{found['n_parameters'] / 1e6:.1f} M parameters, {found['seconds'][0]:.1f} s a step"
        text += f" ({summarise([found])['share']:.2f} of what the machine can do)"
        print(f"{name}, {size}: {text}, peak {found['peak_gb']:.1f} GB (at most {MAX_GB:.0f})", flush=True)
        is_met &= found["peak_gb"] <= MAX_GB
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
