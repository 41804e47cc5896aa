"""Stage versions and their lock: Snakemake does not see a changed module, this does."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from pathlib import Path

from braing3n import WORDS
from braing3n.core.errors import BrainG3nError, require_checkout

PACKAGE_DIR = Path(__file__).parents[1]
LOCK_PATH = PACKAGE_DIR.parent / "workflow" / "stages.lock"
PAGE_SUFFIXES = {".html", ".css", ".js"}  # of what pages are made of, beside the module that renders them
# Folders whose files a word imports by name, which no import statement shows.
REGISTRIES = {"latents": "encoders"}
# What every stage uses and none is defined by: a change here alters how, never what.
NEUTRAL = {
    *("__init__", "__main__", "cli", "launch", "apply", "upkeep"),
    *("core.process", "core.scratch", "core.runtime", "core.errors", "core.stages"),
}


def read_versions() -> dict[str, int]:
    """The STAGE_VERSION of each word."""
    return {word: importlib.import_module(f"braing3n.{word}").STAGE_VERSION for word in WORDS}


def compute_digests() -> dict[str, str]:
    """For each word, the digest of its folder, and of the braing3n modules and templates that it uses."""
    return {word: _digest_stage(word) for word in WORDS}


def find_unlocked() -> list[str]:
    """The words whose code moved although neither version nor lock did, one sentence each."""
    require_checkout("stages")
    locked = json.loads(LOCK_PATH.read_text())
    versions, digests = read_versions(), compute_digests()
    faults = []
    for word in WORDS:
        entry = locked.get(word, {})
        if entry.get("version") != versions[word]:
            faults.append(
                f"{word}: STAGE_VERSION is {versions[word]}, the lock has {entry.get('version')}: relock it."
            )
        elif entry.get("digest") != digests[word]:
            faults.append(
                f"{word}: its code changed: raise STAGE_VERSION in its __init__.py if results change; "
                f"then `make relock STAGE={word}` declares the rest harmless."
            )
    return faults


def relock(word: str) -> None:
    """Write the present version and digest of one word (or `all`) into the lock."""
    if word != "all" and word not in WORDS:
        raise BrainG3nError(f"{word!r} is no stage; stages: {', '.join(WORDS)}.")
    require_checkout("stages")
    locked = json.loads(LOCK_PATH.read_text()) if LOCK_PATH.exists() else {}
    versions = read_versions()
    for name in WORDS if word == "all" else [word]:
        locked[name] = {"version": versions[name], "digest": _digest_stage(name)}
    LOCK_PATH.write_text(json.dumps(locked, indent=1, sort_keys=True) + "\n")


def _digest_stage(word: str) -> str:
    """Digest the word's modules and, transitively, the package modules they import, with their templates."""
    folders = [PACKAGE_DIR / name for name in (word, REGISTRIES.get(word, word))]
    todo = sorted({path for folder in folders for path in folder.rglob("*.py")})
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        todo += [module for module in _find_imports(path) if module not in seen]
    pages = {path.parent for path in seen}
    seen |= {path for folder in pages for path in folder.iterdir() if path.suffix in PAGE_SUFFIXES}
    total = hashlib.sha256()
    for path in sorted(seen):
        text = path.read_text()
        if path.suffix == ".py":
            text = _strip(text, is_version_hidden=path.name == "__init__.py")
        total.update(path.relative_to(PACKAGE_DIR).as_posix().encode())
        total.update(text.encode())
    return total.hexdigest()


def _find_imports(path: Path) -> list[Path]:
    """The package's files that a module imports, neutral ones left out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] != "braing3n" or len(parts) < 2 or {parts[1], ".".join(parts[1:3])} & NEUTRAL:
                continue
            base = PACKAGE_DIR.joinpath(*parts[1:])
            found += [item for item in (base.with_suffix(".py"), base / "__init__.py") if item.exists()]
    return found


def _strip(source: str, is_version_hidden: bool) -> str:
    """The code without comments, docstrings and blank space, and without its own version line."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    if is_version_hidden:
        tree.body = [node for node in tree.body if "STAGE_VERSION" not in ast.dump(node)]
    return ast.unparse(tree)
