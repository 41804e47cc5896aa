"""The fences of a fixture whose tables are named around them, not in them."""

from __future__ import annotations

import re
from dataclasses import replace

from .fixtures import RawFile, read_paths


def take_fences(section: str, *names: str) -> tuple[list[RawFile], dict[str, str], str]:
    """The paths of the first fence, the others as tables of these names, and the section as it stands.

    A path with `(+ .json)` beside it has a sidecar.
    """
    paths, *texts = re.findall(r"^```\w*\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    tables = dict(zip(names, texts, strict=True))
    files = []
    for file in read_paths(paths):
        _, has_sidecar, note = file.note.rpartition("(+ .json)")
        files.append(replace(file, note=note.strip(" #") if has_sidecar else file.note))
        if has_sidecar:
            files.append(RawFile(re.sub(r"\.nii(\.gz)?$", ".json", file.path)))
    return [file for file in files if file.path not in tables and " " not in file.path], tables, section


def list_notes(section: str) -> list[tuple[str, str]]:
    """The paths of the first fence and the notes beside them."""
    paths = re.search(r"^```\w*\n(.*?)^```", section, re.MULTILINE | re.DOTALL).group(1)
    return [(file.path, file.note) for file in read_paths(paths)]
