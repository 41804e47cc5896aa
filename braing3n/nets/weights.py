"""Weight files: safetensors with the model's name and record, loaded as tensors and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from braing3n.core.errors import CheckpointError, ConfigurationError
from braing3n.core.runtime import write_atomically
from braing3n.core.settings import Settings, validate
from braing3n.nets.weight_file import read_head

M = TypeVar("M", bound=nn.Module)
# The class of a model's settings, or what finds it in the record of a weight file.
SettingsKind = type[Settings] | Callable[[dict[str, Any]], type[Settings]]


def write_weights(path: Path, tensors: dict[str, Tensor], model: str, record: dict[str, Any]) -> None:
    """A safetensors file whose metadata hold the model's name and record; equal content, equal bytes."""
    from safetensors.torch import save_file

    metadata = {"braing3n": json.dumps({"model": model, **record}, sort_keys=True)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with write_atomically(path) as beside:
        save_file(tensors, str(beside), metadata)


def read_record(path: Path, model: str) -> dict[str, Any]:
    """The record of a weight file that holds this model, and none of its tensors.

    Raises:
        CheckpointError: no such file, no safetensors, or another model's.
    """
    record = read_head(path)
    if record.get("model") != model:
        raise CheckpointError(f"{path}: holds {record.get('model', 'no model of ours')}, not {model}.")
    return record


def read_weights(path: Path, model: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a weight file that holds this model.

    Raises:
        CheckpointError: as `read_record`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = read_record(path, model)
    try:
        return load_file(path), record
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file of ours ({error}); train it again.") from None


def take_weights(given: Path, model: str, weights_path: Path) -> None:
    """Copy a weight file that somebody trained elsewhere to where a training would put its own.

    Raises:
        CheckpointError: as `read_record`.
    """
    read_record(given, model)
    with write_atomically(weights_path) as beside:
        shutil.copyfile(given, beside)


def read_settings(kind: SettingsKind, record: dict[str, Any], path: Path) -> Any:
    """The settings of a weight file's model; those that came after the file have their defaults.

    Raises:
        CheckpointError: there are none, or this version has no such settings.
    """
    try:
        kind = kind if isinstance(kind, type) else kind(record)
        return validate(kind, record.get("settings"), "settings")
    except ConfigurationError as error:
        fault = str(error).removesuffix(".")
        raise CheckpointError(f"{path}: is of another version ({fault}); train it again.") from None


class Model(Protocol):
    """What `load_model` needs of a network: its settings, and how its record builds it again."""

    SETTINGS: ClassVar[SettingsKind]

    @classmethod
    def from_record(cls, settings: Any, record: dict[str, Any]) -> Any:
        """The network of a weight file's record, with random weights."""


def load_model(kind: type[M], path: Path) -> M:
    """The trained network of a weight file, frozen and in evaluation mode.

    Args:
        kind: its class, by whose name the file is recognised, such as `MaskedAutoencoder`.

    Raises:
        CheckpointError: the file is no weight file of this class.
    """
    tensors, record = read_weights(path, kind.__name__)
    recipe = cast("type[Model]", kind)  # both a module and a `Model`, which no one type says
    try:
        settings = read_settings(recipe.SETTINGS, record, path)
        with torch.device("meta"), _Undrawn():  # shapes without memory: a record may claim any size
            check_fit(recipe.from_record(settings, record), tensors, path)
        with _Undrawn():
            model = recipe.from_record(settings, record)
    except KeyError as error:
        raise CheckpointError(f"{path}: its record lacks {error}; train it again.") from None
    except ConfigurationError as error:
        fault = str(error).removesuffix(".")
        raise CheckpointError(f"{path}: its settings do not fit ({fault}); train it again.") from None
    # Sizes that no model has, and a record of another form.
    except (RuntimeError, ValueError, OverflowError, MemoryError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: its record describes no model ({reason}); train it again.") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; train it again.")
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


class _Undrawn(TorchFunctionMode):
    """No random weights: all are about to be replaced, and to draw them takes longer than to read them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "kaiming_uniform_", "xavier_uniform_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load every tensor of a model, and nothing else.

    Raises:
        CheckpointError: as `check_fit`.
    """
    check_fit(model, tensors, path)
    model.load_state_dict(tensors)


def check_fit(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Compare names and shapes of a model's tensors with those of a file.

    Raises:
        CheckpointError: one sentence that lists the missing, unexpected and misshapen names.
    """
    wanted = model.state_dict()
    faults = {
        "missing": sorted(set(wanted) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(wanted)),
        "of another shape": sorted(
            name for name in set(wanted) & set(tensors) if wanted[name].shape != tensors[name].shape
        ),
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {_shorten(names)}" for kind, names in faults.items() if names)
        raise CheckpointError(f"{path}: does not fit {type(model).__name__} ({listed}).")


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
