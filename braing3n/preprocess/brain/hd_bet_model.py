"""HD-BET version 2's model folder: found, unpacked, checked and digested before a network is built of it."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from braing3n.core.errors import ResourceError
from braing3n.core.resources import DOWNLOADS, check_digest, fetch
from braing3n.core.runtime import digest_file, write_atomically
from braing3n.core.settings import ResourceSettings

NAME = "hd-bet"
DESCRIPTIONS = ("dataset.json", "plans.json")
CHECKPOINT = "checkpoint_final.pth"
MAX_UNPACKED = 20  # times an archive's own size
FOLD = re.compile(r"fold_(all|\d+)")
# What a plan may have imported, since it may name anything that is installed.
NETWORK = re.compile(r"dynamic_network_architectures\.architectures\.\w+\.[A-Z]\w*")
LAYER = re.compile(r"torch\.nn\.(modules\.[a-z]+\.)?[A-Z]\w*")


@dataclass(frozen=True)
class Model:
    """A trained nnU-Net folder: its folds ("all", or the numbers of those that are averaged) and digest."""

    folder: Path
    folds: tuple[str, ...]
    sha256: str


def find_model(settings: ResourceSettings, resources_dir: Path) -> Model:
    """The configured model, checked; an archive is unpacked below `resources_dir` first.

    Its sha256 is that of its files' bytes in a row:
    `cat dataset.json plans.json fold_all/checkpoint_final.pth | sha256sum`.

    Raises:
        ResourceError: no such folder or archive; a file of it is missing, damaged or could run code of its
            own; the digest is not that of `resources.sha256`.
    """
    path = fetch(NAME, settings, resources_dir)
    folder = path if path.is_dir() else _unpack(path, resources_dir)
    folds = _list_folds(folder)
    names = [*DESCRIPTIONS, *(f"fold_{fold}/{CHECKPOINT}" for fold in folds or ("all",))]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        item = DOWNLOADS[NAME]
        raise ResourceError(
            f"resources.paths.{NAME}: {path} has no {missing[0]}; name nnU-Net's folder that holds it, "
            f"or {item.file_name} of {item.address}."
        )
    digest = hashlib.sha256()
    for name in names:
        digest.update((folder / name).read_bytes())
    check_digest(digest.hexdigest(), NAME, path, settings)
    _check_plans(folder / "plans.json")
    for name in names[len(DESCRIPTIONS) :]:
        _check_checkpoint(folder / name)
    return Model(folder, folds, digest.hexdigest())


def _list_folds(folder: Path) -> tuple[str, ...]:
    """The fold trained on everything where there is one, as HD-BET has it; else all numbered ones."""
    found = (FOLD.fullmatch(path.parent.name) for path in folder.glob(f"fold_*/{CHECKPOINT}"))
    folds = sorted((match[1] for match in found if match), key=lambda fold: (len(fold), fold))
    return ("all",) if "all" in folds else tuple(folds)


def _unpack(archive: Path, resources_dir: Path) -> Path:
    """The model's files of an archive, and no others, in a folder named by the archive's digest.

    Names inside the archive never become paths: only the files that are looked for are written.
    """
    folder = Path(resources_dir) / f"{NAME}-{digest_file(archive)[:16]}"
    try:
        with zipfile.ZipFile(archive) as package:
            members = _list_members(archive, package)
            _check_unpacked(archive, members)
            for target, member in members.items():
                path = folder / target
                if path.is_file() and _digest_crc(path) == member.CRC:
                    continue
                with (
                    package.open(member) as source,
                    write_atomically(path) as beside,
                    open(beside, "wb") as file,
                ):
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ResourceError(f"{archive}: is no readable zip archive ({error}); download it again.") from None
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written ({error.strerror}).") from None
    return folder


def _digest_crc(path: Path) -> int:
    """A file's checksum as zip archives have it."""
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(2**20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _list_members(archive: Path, package: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Path below the model folder -> member, wherever in the archive that folder lies."""
    inside = {PurePosixPath(member.filename): member for member in package.infolist()}
    tops = [path.parent for path in inside if path.name == "plans.json"]
    if len(tops) != 1:
        raise ResourceError(
            f"{archive}: has {len(tops)} plans.json, a model of nnU-Net has one; name another file."
        )
    folds = [path.parent.name for path in inside if path.name == CHECKPOINT]
    wanted = [*DESCRIPTIONS, *(f"{fold}/{CHECKPOINT}" for fold in folds if FOLD.fullmatch(fold))]
    return {name: inside[tops[0] / name] for name in wanted if tops[0] / name in inside}


def _check_unpacked(archive: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    """Weights hardly shrink: an archive that unpacks to many times its size is none of them."""
    n_bytes = sum(member.file_size for member in members.values())
    if n_bytes > MAX_UNPACKED * archive.stat().st_size:
        raise ResourceError(
            f"{archive}: would unpack to {n_bytes / 10**6:.0f} MB, {MAX_UNPACKED} times its size and more; "
            "nothing was unpacked; use a model from a source you trust."
        )


def _check_plans(path: Path) -> None:
    """Only networks of nnU-Net's own package and layers of PyTorch may be imported by name."""
    try:
        configurations = json.loads(path.read_text())["configurations"].values()
        architectures = [item["architecture"] for item in configurations if "architecture" in item]
        networks = [item["network_class_name"] for item in architectures]
        layers = [item["arch_kwargs"][key] for item in architectures for key in item["_kw_requires_import"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResourceError(f"{path}: is no plan of nnU-Net ({error!r}); download the model again.") from None
    for names, allowed in ((networks, NETWORK), (layers, LAYER)):
        for name in names:
            if name is not None and not allowed.fullmatch(str(name)):
                raise ResourceError(
                    f"{path}: wants {str(name)[:80]!r} imported, no network or layer of nnU-Net; "
                    "use a model from a source you trust."
                )


def _check_checkpoint(path: Path) -> None:
    """Read it once, as weights only, so that a bad one stops the job and not each visit."""
    import torch

    try:
        with load_as_weights():
            torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = f"it asks for {named[1]}" if named else str(error).splitlines()[0]
        raise ResourceError(
            f"{path}: holds more than weights and numbers ({why}) and was not loaded, since it could run "
            "code of its own; use a checkpoint from a source you trust."
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError) as error:
        why = (str(error).splitlines() or ["it ends early"])[0]
        raise ResourceError(f"{path}: is no readable checkpoint ({why}); download it again.") from None


@contextmanager
def load_as_weights() -> Iterator[None]:
    """Inside, every `torch.load` takes weights, plain containers and NumPy's numbers, whoever calls it.

    nnU-Net itself loads checkpoints as pickles that may run anything.
    """
    import numpy as np
    import torch

    make_scalar = np.float64(0).__reduce__()[0]
    modules = ("numpy._core.multiarray", "numpy.core.multiarray")  # of NumPy 2 and 1
    numbers = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    harmless: list[Any] = [*((make_scalar, f"{module}.scalar") for module in modules), np.dtype, *numbers]
    forced = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
    before = {name: os.environ.get(name) for name in forced}
    os.environ.update(forced)
    try:
        with torch.serialization.safe_globals(harmless):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
