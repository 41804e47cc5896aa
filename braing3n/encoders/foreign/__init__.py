"""Encoders of others, by their official weights, which the user brings: `latents.foreign.weights`.

Each takes our SRI24 volumes, z-scored, through the preprocessing that its authors give what they feed it. All
of them were trained on other spaces and intensities than ours, a shift that their scores include.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from braing3n.core.errors import CheckpointError, MissingWeightsError
from braing3n.core.runtime import digest_file
from braing3n.encoders import grow_features

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from braing3n.latents.settings import LatentsSettings
    from braing3n.training import Volumes

    Net = TypeVar("Net", bound=nn.Module)

WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # what parallel training and compiling put before names


@dataclass(frozen=True)
class Release:
    """Where an encoder's official weights are to be had, and under which licence."""

    encoder: str
    file_name: str
    address: str
    licence: str

    def find(self, settings: LatentsSettings) -> Path:
        """The file of weights that the configuration names.

        Raises:
            MissingWeightsError: it names none, or one that is not there.
            CheckpointError: its digest is not the one that the configuration names.
        """
        given = settings.foreign.weights.get(self.encoder, "")
        if given and Path(given).exists():
            self._check_digest(Path(given), settings.foreign.sha256.get(self.encoder, ""))
            return Path(given)
        what = f"{given} does not exist" if given else "no file is named"
        raise MissingWeightsError(
            f"latents.foreign.weights.{self.encoder}: {what}; {self.file_name} is at {self.address} "
            f"({self.licence})."
        )

    def _check_digest(self, path: Path, expected: str) -> None:
        found = digest_file(path) if expected else ""
        if found != expected.lower():
            raise CheckpointError(
                f"{self.encoder}: {path} has sha256 {found}, but latents.foreign.sha256.{self.encoder} says "
                f"{expected}; get {self.file_name} again, or correct the setting."
            )


def load_net(net: Net, path: Path, tensors: dict[str, Tensor], device: torch.device) -> Net:
    """The net with these tensors and no others, frozen, in evaluation mode, on the device.

    Raises:
        CheckpointError: one sentence that lists the missing, unexpected and misshapen names.
    """
    from braing3n.nets.weights import load_weights

    load_weights(net, tensors, path)
    return net.to(device).eval().requires_grad_(False)


def take_part(tensors: dict[str, Tensor], prefix: str, path: Path) -> dict[str, Tensor]:
    """The tensors whose names begin so behind `WRAPPERS`, without that beginning.

    Raises:
        CheckpointError: there are none.
    """
    plain = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    part = {name[len(prefix) :]: tensor for name, tensor in plain.items() if name.startswith(prefix)}
    if not part:
        first = ", ".join(sorted(tensors)[:3])
        raise CheckpointError(f"{path}: no tensor's name begins with '{prefix}' (it holds {first} ...).")
    return part


def encode_volumes(
    name: str,
    prepare: Callable[[int, Tensor, Tensor], Tensor],
    encode: Callable[[Tensor], Tensor],
    n_features: int,
    volumes: Volumes,
    settings: LatentsSettings,
    device: torch.device,
    part_dir: Path,
    n_at_once: int = 1,
) -> np.ndarray:
    """Features of every volume, float32 (N, n_features), which grow in `part_dir` (`grow_features`).

    Args:
        prepare: row, z-scored volume and mask (D, H, W) -> what the net takes, (channels, D', H', W').
        encode: a batch of these -> features (B, n_features).
        n_at_once: volumes a batch; of whole volumes at 1 mm more than one would fill memory.

    Raises:
        CheckpointError: a feature is not finite.
    """
    import torch

    from braing3n import training

    def load_row(row: int) -> Tensor:
        image, mask = volumes.load(row)
        return prepare(row, torch.from_numpy(image), torch.from_numpy(mask))

    def encode_all(rest: list[np.ndarray]) -> Iterator[Tensor]:
        for rows in rest:
            batch = torch.stack([load_row(row) for row in rows.tolist()]).to(device)
            with training.autocast(device, settings):
                found = encode(batch).float()
            if not bool(found.isfinite().all()):
                raise CheckpointError(
                    f"{name}: its features are not finite; look at the file of its weights, or encode in "
                    "float32 (latents.precision)."
                )
            yield found

    batches = training.cut_batches(np.arange(len(volumes)), n_at_once)
    return grow_features(name, n_features, batches, encode_all, part_dir)
