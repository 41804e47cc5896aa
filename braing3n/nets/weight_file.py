"""Weight files, checked before any tensor is read: the head of our own, the digest of others'."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from braing3n.core.errors import CheckpointError
from braing3n.core.runtime import digest_file

MAX_HEADER_BYTES = 100 * 2**20
DTYPE_BYTES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U8": 1,
    "I8": 1,
    "BOOL": 1,
}


def read_head(path: str | Path) -> dict[str, Any]:
    """What this program recorded in a weight file; nothing where it recorded nothing.

    Raises:
        CheckpointError: no such file, no safetensors, or tensors that are larger than the file.
    """
    try:
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
            if not 2 <= n_bytes <= min(size - 8, MAX_HEADER_BYTES):
                raise ValueError("its header is missing or too long")
            head = json.loads(file.read(n_bytes))
        metadata = head.pop("__metadata__", {})
        claimed = sum(math.prod(item["shape"]) * DTYPE_BYTES[item["dtype"]] for item in head.values())
        if claimed != size - 8 - n_bytes:
            raise ValueError(f"its tensors claim {claimed} bytes and it holds {size - 8 - n_bytes}")
        record = json.loads(metadata.get("braing3n", "{}"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{path}: cannot be read ({reason}); correct its path.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a safetensors file of ours ({error}); train it again.") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{path}: its record is no object but {type(record).__name__}; train it again.")
    return record


def check_digest(path: Path, sha256: str, source: str) -> None:
    """Refuse a file whose sha256 does not begin so.

    Args:
        source: what the file should be, and where it is to be had.

    Raises:
        CheckpointError: no such file, or another one.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; it would be {source}.")
    if not digest_file(path).startswith(sha256):
        raise CheckpointError(f"{path}: its sha256 does not begin with {sha256}; get {source}.")
