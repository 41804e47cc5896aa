"""Generate `config/config.yaml` and its JSON schema from the typed models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import JsonValue

from braing3n.config import Config
from braing3n.core.errors import require_checkout
from braing3n.core.runtime import write_if_changed
from braing3n.core.settings import Settings, read_extra

ROOT = Path(__file__).parents[2]
YAML_PATH = ROOT / "config" / "config.yaml"
SCHEMA_PATH = ROOT / "workflow" / "schemas" / "config.schema.json"
HEADER = """\
# yaml-language-server: $schema=../workflow/schemas/config.schema.json
# The paper's run. Generated from braing3n/*/settings.py by `python -m braing3n config write`; do not edit.
# Write a file with only what differs and name it with --configfile.
# Beside each setting: what it is (unit; given = the paper's, derived = from given numbers, chosen = ours).
"""


def render_yaml() -> str:
    """The default configuration as commented YAML."""
    return HEADER + "\n".join(_render(Config())) + "\n"


def render_schema() -> str:
    """The JSON schema that editors complete from."""
    schema = Config.model_json_schema()
    for section in schema["$defs"].values():
        for place in section["properties"].values():
            if "given" in place:
                place |= _mark_given(schema["$defs"][place.pop("$ref").split("/")[-1]], place.pop("given"))
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _mark_given(section: dict, given: list[str]) -> dict:
    """A shared section's schema, for the place where these fields are the paper's."""
    fields = section["properties"]
    marked = {name: field | {"provenance": "given"} for name, field in fields.items() if name in given}
    return section | {"properties": fields | marked}


def write_files() -> list[Path]:
    """Write both files; the paths of those that changed."""
    require_checkout("config write")
    wanted = {YAML_PATH: render_yaml(), SCHEMA_PATH: render_schema()}
    return [path for path, text in wanted.items() if write_if_changed(path, text)]


def _render(section: Settings, depth: int = 0, given: Sequence[JsonValue] = ()) -> list[str]:
    """The lines of one section, its sub-sections indented; given: the fields that are the paper's here."""
    lines, indent = [], "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        extra = read_extra(field)
        if isinstance(value, Settings):
            lines += ["", f"{indent}# {field.description}", f"{indent}{name}:"]
            named = extra.get("given")
            lines += _render(value, depth + 1, named if isinstance(named, list) else ())
            continue
        provenance = "given" if name in given else extra.get("provenance")
        facts = "; ".join(str(item) for item in (extra.get("unit"), provenance) if item)
        plain = section.model_dump(mode="json").get(name, value)  # given weights are in no dump
        text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
        lines.append(f"{indent}{name}: {text}  # {field.description} ({facts})")
    return lines
