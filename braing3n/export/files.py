"""What a model folder holds, and how it is written and checked: fixed names, digests, nothing executed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from braing3n.core.errors import CheckpointError
from braing3n.core.runtime import digest_file, write_atomically

FORMAT = 1
CONFIG, CARD = "config.json", "README.md"
ENCODER, TOKENIZER, DIT, BRIDGE = (
    f"{name}.safetensors" for name in ("encoder", "tokenizer", "dit", "bridge")
)
PROBES, STATISTICS = "probes.safetensors", "statistics.safetensors"
NEEDED = (ENCODER, TOKENIZER, PROBES, STATISTICS)
WEIGHTS = (ENCODER, TOKENIZER, DIT, BRIDGE, PROBES, STATISTICS)
NAMES = (CONFIG, CARD, *WEIGHTS)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def write_config(folder: Path, content: dict[str, Any]) -> None:
    """`config.json`, with the digest of every weight file that is there; it is written last."""
    digests = {name: digest_file(folder / name) for name in WEIGHTS if (folder / name).is_file()}
    with write_atomically(folder / CONFIG) as beside:
        beside.write_text(json.dumps({"format": FORMAT, **content, "sha256": digests}, indent=1) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder whose files are whole.

    Names of files are ours and never the configuration's. Every digest is compared before any tensor is read.

    Raises:
        CheckpointError: one sentence that names the file and what to do.
    """
    path = folder / CONFIG
    again = "fetch the folder again, or export it again"
    try:
        content = json.loads(path.read_text())
        digests = content["sha256"]
        is_ours = content["format"] == FORMAT
        if not isinstance(digests, dict):
            raise ValueError("its sha256 is no list of files")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing, so this is no model folder; {again}.") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: is no configuration of a model ({error}); {again}.") from None
    if not is_ours:
        raise CheckpointError(f"{path}: is of another version ({content['format']!r:.20}); {again}.")
    for name in WEIGHTS:
        file = folder / name
        if name not in digests:
            if name in NEEDED:
                raise CheckpointError(f"{path}: lists no {name}; {again}.")
            continue
        if not file.is_file():
            raise CheckpointError(f"{file}: is missing; {again}.")
        try:
            digest = digest_file(file)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read ({error.strerror}).") from None
        if digest != digests[name]:
            raise CheckpointError(
                f"{file}: is not the file that {CONFIG} names (its SHA-256 differs); {again}."
            )
    return content


def find_folder(folder_or_hub_id: str | Path) -> Path:
    """The folder itself, or that of the hub's files: those of the cache where they are all there.

    Raises:
        CheckpointError: no such folder, and nothing that the hub has.
    """
    folder = Path(folder_or_hub_id)
    if folder.is_dir():
        return folder
    name = str(folder_or_hub_id)
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise CheckpointError(f"{name}: there is no such folder, and it is no id of a hub (owner/name).")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = list(NAMES)
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{name}: is no folder here, and the hub did not give it ({reason}).") from None
