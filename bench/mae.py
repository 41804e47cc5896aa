"""One training step of the masked autoencoder at the paper's size: ours against MONAI's MaskedAutoEncoderViT.

Batch 4, AdamW, on the CPU, equal layers; MONAI's module computes no loss, so it gets the same masked mean
squared error. Each side runs in processes of its own, by turns, in float32 or, with --precision bfloat16, in
autocast. Prints seconds a step (median) and peak memory above the imports, their ratios, and the share of
what the machine can do: its products alone, over the step. How much faster than the peer ours is hangs on the
processor (docs/performance.md), the share much less. Exits 1 short of a target.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from peers.sides import Targets, build_parser, compare_sides  # noqa: E402

TARGETS = Targets(time_ratio=1.05, memory_ratio=0.72, share=0.65)
BATCH_SIZE, SHAPE, PATCH_SIZE = 4, (160, 192, 160), 16


def build_ours() -> tuple:
    """Our module, and what computes its loss."""
    import torch

    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.pretrain.settings import PretrainSettings

    model = MaskedAutoencoder(PretrainSettings(), SHAPE)
    volume = torch.randn(BATCH_SIZE, 1, *SHAPE)
    return model, lambda: model(volume, torch.rand(BATCH_SIZE, model.n_tokens))


def build_peer() -> tuple:
    """MONAI's module of the same layers, and what computes its loss."""
    import torch
    from monai.networks.nets import MaskedAutoEncoderViT

    sizes = {"hidden_size": 1152, "mlp_dim": 4608, "num_layers": 12, "num_heads": 16}
    decoder = {f"decoder_{name}": n for name, n in (sizes | {"num_layers": 8}).items()}
    model = MaskedAutoEncoderViT(1, SHAPE, PATCH_SIZE, masking_ratio=0.7, qkv_bias=True, **sizes, **decoder)
    volume = torch.randn(BATCH_SIZE, 1, *SHAPE)

    def measure_loss():
        predicted, is_hidden = model(volume)
        b, (d, h, w), p = BATCH_SIZE, (n // PATCH_SIZE for n in SHAPE), PATCH_SIZE
        patches = volume.reshape(b, d, p, h, p, w, p).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, d * h * w, p**3)
        errors = (predicted - patches).square().mean(dim=-1)
        return (errors * is_hidden).sum() / is_hidden.sum()

    return model, measure_loss


def main() -> int:
    """Run both sides by turns and compare."""
    options = build_parser(__doc__).parse_args()
    builders = {"ours": build_ours, "monai": build_peer}
    return 0 if compare_sides(__file__, options, builders, TARGETS) else 1


if __name__ == "__main__":
    sys.exit(main())
