"""OpenMind's masked autoencoders (nnssl; Wald et al. 2024): the mean over the last map or over all tokens.

The file says which one it is: ResEnc-L, a CNN (320 numbers), or Primus-M, a transformer (864 numbers).

As published: the nets, their means (the authors' classification code), learned positions resized to the
input's grid, and mean 0 and deviation 1 over the box of what is not 0, dark background included. Chosen: the
whole volume at 1 mm, turned to S-A-R, the order in which their reader gives a file stored R-A-S. Shift:
trained on whole heads in native space, Primus-M on cubes of 160 mm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braing3n.encoders.foreign import Release, encode_volumes, load_net, take_part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from braing3n.nets.foreign.primus import Primus
    from braing3n.nets.foreign.resenc import ResidualEncoder

SECTIONS = ("latents.foreign",)
HAS_PCA = False
RELEASE = Release(
    "openmind",
    "checkpoint_final.pth",
    "huggingface.co/AnonRes/ResEncL-OpenMind-MAE or .../PrimusM-OpenMind-MAE",
    "CC BY 4.0",
)
DECODER = ("decoder.", "up_projection.", "mask_token")  # what Primus-M's file has beside the encoder


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """The mean over the last map or over all tokens, float32 (N, 320 or 864).

    Raises:
        MissingWeightsError: the weights are not there.
        CheckpointError: the file holds another net.
    """
    from braing3n.nets.checkpoint import read_checkpoint

    path = RELEASE.find(settings)
    tensors = take_part(read_checkpoint(path), "", path)
    is_primus = "down_projection.proj.weight" in tensors
    build: Callable[..., tuple[Primus | ResidualEncoder, dict[str, Tensor]]]
    build = build_primus if is_primus else build_resenc
    bare, part = build(tensors, path)
    net = load_net(bare, path, part, device)
    axes = (1,) if is_primus else (2, 3, 4)

    def encode(batch: Tensor) -> Tensor:
        return net(batch).mean(dim=axes)

    return encode_volumes("openmind", prepare, encode, net.n_features, volumes, settings, device, part_dir)


def build_resenc(tensors: dict[str, Tensor], path: Path) -> tuple[ResidualEncoder, dict[str, Tensor]]:
    """The CNN and its tensors, each of which the file holds twice more."""
    from braing3n.nets.foreign.resenc import ResidualEncoder

    part = take_part(tensors, "encoder.", path)
    return ResidualEncoder(), {name: x for name, x in part.items() if ".all_modules." not in name}


def build_primus(tensors: dict[str, Tensor], path: Path) -> tuple[Primus, dict[str, Tensor]]:
    """The transformer and its tensors, with the scales and the norms that the file has."""
    from braing3n.nets.foreign.primus import Primus

    part = {name: x for name, x in tensors.items() if not name.startswith(DECODER)}
    has_scales = "eva.blocks.0.gamma_1" in part
    net = Primus(has_scales=has_scales, has_inner_norm="eva.blocks.0.attn.norm.weight" in part)
    return net, part


def prepare(row: int, image: Tensor, mask: Tensor) -> Tensor:
    """(D, H, W) -> (1, 160, 192, 160), S-A-R."""
    from braing3n.nets.foreign import inputs

    volume = inputs.resize(inputs.restore_intensities(image, mask), inputs.FULL_SHAPE)
    volume = inputs.turn_to_ras(volume).permute(2, 1, 0)
    return inputs.scale_by(volume, volume[inputs.find_box(volume != 0)])[None]
