"""Encoders whose features are probed: one file each, and the folder's listing is the registry.

A file says `SECTIONS`, the settings files that its features depend on beside `latents`, and `HAS_PCA`,
whether its features are so many that probes take their principal components, fitted in the fold.
Its `compute(volumes, settings, sections, device, part_dir)` gives the features, float32 (N, F); one without
it has features from elsewhere, as `mae`, whose tokens are cached with them. What `SECTIONS` names comes
parsed, by name, as `sections`, and `latents.foreign` in `settings`. Features grow in `part_dir` and a killed
job resumes. Those of `foreign/` need weights that the user brings (`latents.foreign.weights`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from braing3n.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from braing3n.training import Volumes

FOLDER = Path(__file__).parent
N_AT_ONCE = 32  # volumes after which the features of a quick encoder are saved


def list_encoders(folder: str = "") -> list[str]:
    """The names of all encoders, or of those of one folder below this one."""
    return sorted(path.stem for path in (FOLDER / folder).rglob("*.py") if path.stem != "__init__")


def load(name: str) -> ModuleType:
    """The module of one encoder.

    Raises:
        ConfigurationError: there is no such file.
    """
    if name not in list_encoders():
        known = ", ".join(list_encoders())
        raise ConfigurationError(f"latents.encoders: '{name}' is no file of braing3n/encoders ({known}).")
    folder = ".foreign" if name in list_encoders("foreign") else ""
    return importlib.import_module(f"braing3n.encoders{folder}.{name}")


def compute_features(
    name: str, volumes, settings, sections: Mapping[str, Any], device, part_dir: Path
) -> np.ndarray:
    """The features of one encoder that computes its own, float32 (N, F).

    sections: parsed settings by name; an encoder gets those that its `SECTIONS` names, and no other.
    part_dir: where a killed job resumes, named by what the features are made from.

    Raises:
        ConfigurationError: there is no such encoder, or its features lie with the tokens.
        MissingWeightsError: its weights are not there.
    """
    encoder = load(name)
    if not hasattr(encoder, "compute"):
        raise ConfigurationError(f"latents: the features of '{name}' are cached with its tokens.")
    named = {section: sections[section] for section in encoder.SECTIONS if section in sections}
    return encoder.compute(volumes, settings, named, device, part_dir)


def describe_volumes(
    name: str, volumes: Volumes, describe: Callable[[np.ndarray, np.ndarray], np.ndarray], part_dir: Path
) -> np.ndarray:
    """What `describe(image, mask)` gives of each volume, float32 (N, F); see `grow_features`."""
    import numpy as np
    import torch

    from braing3n import training

    def compute(rest: list[np.ndarray]) -> Iterator[Tensor]:
        for rows in rest:
            yield torch.from_numpy(np.stack([describe(*volumes.load(row)) for row in rows.tolist()]))

    batches = training.cut_batches(np.arange(len(volumes)), N_AT_ONCE)
    return grow_features(name, describe(*volumes.load(0)).size, batches, compute, part_dir)


def grow_features(
    name: str,
    n_features: int,
    batches: Sequence[np.ndarray],
    compute: Callable[[list[np.ndarray]], Iterator[Tensor]],
    part_dir: Path,
) -> np.ndarray:
    """Features float32 (N, n_features) that grow in part_dir: a killed job resumes at its last batch.

    Args:
        batches: the rows of each batch.
        compute: takes the batches that are still to be done, and gives the features (B, n_features) of each.
    """
    import numpy as np

    from braing3n import training
    from braing3n.core.runtime import track

    def compute_rest(rest: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        for values in track(compute(rest), f"latents: {name}", len(rest)):
            yield {"features": values}

    shapes = {"features": ((n_features,), np.float32)}
    with training.grow_arrays(part_dir, shapes, batches, compute_rest) as arrays:
        return np.load(arrays["features"])


def list_weights(name: str, weights: dict[str, str]) -> list[str]:
    """The file of an encoder's weights where it is there: the input that its features depend on."""
    return [path for path in [weights.get(name, "")] if path and Path(path).is_file()]
