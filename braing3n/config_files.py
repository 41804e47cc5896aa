"""Generate `config/config.yaml` and its JSON schema from the typed models."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from braing3n.config import Config, Settings
from braing3n.runtime import write_if_changed

ROOT = Path(__file__).parents[1]
YAML_PATH = ROOT / "config" / "config.yaml"
SCHEMA_PATH = ROOT / "workflow" / "schemas" / "config.schema.json"
HEADER = """\
# yaml-language-server: $schema=../workflow/schemas/config.schema.json
# The paper's run. Generated from braing3n/config.py by `python -m braing3n config write`; do not edit.
# Write a file with only what differs and name it with --configfile.
# Beside each setting: what it is (unit; given = the paper's, derived = from given numbers, chosen = ours).
"""


def render_yaml() -> str:
    """The default configuration as commented YAML."""
    return HEADER + "\n".join(_render(Config(), 0)) + "\n"


def render_schema() -> str:
    """The JSON schema that editors complete from."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def write_files() -> list[Path]:
    """Write both files; the paths of those that changed."""
    wanted = {YAML_PATH: render_yaml(), SCHEMA_PATH: render_schema()}
    return [path for path, text in wanted.items() if write_if_changed(path, text)]


def _render(section: Settings, depth: int) -> list[str]:
    """The lines of one section, its sub-sections indented."""
    lines, indent = [], "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Settings):
            lines += ["", f"{indent}# {field.description}", f"{indent}{name}:", *_render(value, depth + 1)]
            continue
        extra = field.json_schema_extra or {}
        facts = "; ".join(item for item in (extra.get("unit"), extra.get("provenance")) if item)
        plain = json.loads(json.dumps(section.model_dump(mode="json")[name]))
        text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
        lines.append(f"{indent}{name}: {text}  # {field.description} ({facts})")
    return lines
