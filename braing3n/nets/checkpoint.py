"""Checkpoints of others: read as tensors and nothing else, so that no code of theirs runs."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from braing3n.core.errors import CheckpointError


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch checkpoint, which is read as weights only.

    Of nested dictionaries (`model`, `state_dict`, ...) it is the one with the most numbers.

    Raises:
        CheckpointError: no such file, a damaged one, or something else than tensors in it.
    """
    from safetensors.torch import load_file

    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly everything at a damaged file
        raise CheckpointError(_explain(path, error)) from None
    found = list(_find_states(content))
    if not found:
        raise CheckpointError(f"{path}: holds no dictionary of tensors.")
    for state in found:  # a tensor may be a view that stretches one number
        for name, tensor in state.items():
            claimed, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
            if claimed > held:
                raise CheckpointError(f"{path}: its tensor {name} claims {claimed} bytes and holds {held}.")
    return max(found, key=lambda state: sum(tensor.numel() for tensor in state.values()))


def _explain(path: Path, error: Exception) -> str:
    """The sentence about a file that is not read; torch names what a pickle would have called as GLOBAL."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if asked:
        return (
            f"{path}: holds more than tensors ({asked[1]}), which may run code when it is read; "
            "ask its authors for a safetensors file."
        )
    reason = "it is damaged, cut short or no checkpoint"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        reason = str(error.strerror)
    return f"{path}: cannot be read as weights ({reason})."


def _find_states(content: object):
    if isinstance(content, dict):
        state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if state:
            yield state
        for value in content.values():
            yield from _find_states(value)
