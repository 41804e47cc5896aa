"""The JSON sidecars of a BIDS dataset, inherited from folder to folder; three fields are read, no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

from braing3n.cohort.headers import normalise_vendor, round_field_strength
from braing3n.cohort.tables import decode_text, describe_dead_link

FIELDS = ("Manufacturer", "MagneticFieldStrength", "ContrastBolusIngredient")
NO_CONTRAST = ("", "n/a", "na", "none", "no", "0", "false")


def split_name(name: str) -> tuple[dict[str, str], str]:
    """A BIDS file name, without its extension, as its entities and its suffix."""
    *pairs, suffix = name.split("_")
    return dict(pair.split("-", 1) for pair in pairs if "-" in pair), suffix


class Sidecars:
    """What the sidecars of one dataset say of a scan.

    By the inheritance principle a sidecar holds for all scans in and below its folder whose suffix it has
    and whose entities include its own; a deeper one wins over one above, one with more entities over one
    with fewer.
    """

    def __init__(self, raw_dir: Path):
        self.raw_dir = raw_dir
        self._listings: dict[Path, list[tuple[Path, dict[str, str], str]]] = {}
        self._contents: dict[Path, tuple[dict, str]] = {}

    def read(self, scan_path: Path) -> tuple[dict[str, str], list[str]]:
        """The fields of a scan that are known, as text, and a sentence for each unreadable sidecar."""
        name = re.sub(r"\.nii(\.gz)?$", "", scan_path.name)
        entities, suffix = split_name(name)
        facts: dict[str, str] = {}
        faults: list[str] = []
        for folder in self._list_folders(scan_path.parent):
            for path, own, own_suffix in self._list(folder):
                if own_suffix == suffix and own.items() <= entities.items():
                    content, fault = self._load(path)
                    facts |= content
                    faults += [fault] if fault else []
        return facts, faults

    def _list_folders(self, folder: Path) -> list[Path]:
        """From the dataset's folder down to the scan's."""
        folders = [folder, *folder.parents]
        return folders[: folders.index(self.raw_dir) + 1][::-1]

    def _list(self, folder: Path) -> list[tuple[Path, dict[str, str], str]]:
        if folder not in self._listings:
            found = [(path, *split_name(path.stem)) for path in sorted(folder.glob("*.json"))]
            self._listings[folder] = sorted(found, key=lambda item: len(item[1]))
        return self._listings[folder]

    def _load(self, path: Path) -> tuple[dict, str]:
        if path not in self._contents:
            self._contents[path] = _read_fields(path)
        return self._contents[path]


def _read_fields(path: Path) -> tuple[dict[str, str], str]:
    if fault := describe_dead_link(path):
        return {}, fault
    try:
        content = json.loads(decode_text(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}, f"{path.name} is not valid JSON and is not read"
    if not isinstance(content, dict):
        return {}, f"{path.name} holds no fields and is not read"
    return {name: str(content[name]).strip() for name in FIELDS if content.get(name) is not None}, ""


def has_contrast(facts: dict[str, str]) -> bool:
    """Whether a contrast agent was given."""
    return facts.get("ContrastBolusIngredient", "").lower() not in NO_CONTRAST


def describe_scanner(facts: dict[str, str]) -> tuple[str, float, str]:
    """Vendor, nominal field strength in tesla (NaN: not known), and a sentence where that cannot be read."""
    vendor, text = normalise_vendor(facts.get("Manufacturer", "")), facts.get("MagneticFieldStrength", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:t|tesla)?", text.lower())
    strength = round_field_strength(float(match[1])) if match else ""
    fault = f"MagneticFieldStrength '{text}' is not a number of tesla" if text and not strength else ""
    return vendor, float(strength) if strength else float("nan"), fault
