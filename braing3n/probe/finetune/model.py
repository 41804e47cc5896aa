"""Our encoder with one linear layer on its mean token, all of it trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braing3n.pretrain.model import MaskedAutoencoder

DECODER = (
    *("decoder_embed", "mask_token", "decoder_blocks", "decoder_norm", "predict"),
    *("mean_image", "principal_images", "score"),
)


class FinetunedEncoder(nn.Module):
    """Volumes (B, 1, D, H, W) -> class scores, or one standardised number: float32 (B, n_outputs).

    The layer reads what the frozen probe reads: the mean token, standardised by the training volumes as the
    encoder saw them before this training. It begins at 0, or at the probe's own weights (`start_at`).

    Args:
        encoder: trained; it is taken over and loses its decoder.
        features: mean tokens (n, width) of the training volumes, by this encoder.
        n_outputs: of the linear layer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: MaskedAutoencoder, features: Tensor, n_outputs: int):
        super().__init__()
        for name in DECODER:
            if hasattr(encoder, name):
                delattr(encoder, name)
        self.encoder = encoder.requires_grad_(True).train()
        deviation, mean = torch.std_mean(features.double(), dim=0, correction=0)
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", torch.where(deviation > 0, deviation, 1.0).float())
        self.head = nn.Linear(features.shape[1], n_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def start_at(self, weight: Tensor, bias: Tensor, places: Tensor) -> None:
        """Let the outputs at places (K,) begin at weights (K, width) and biases (K,)."""
        self.head.weight[places], self.head.bias[places] = weight, bias

    def forward(self, volume: Tensor) -> Tensor:
        pooled = self.encoder.encode(volume).float().mean(dim=1)  # (B, width)
        return self.head((pooled - self.mean) / self.deviation).float()
