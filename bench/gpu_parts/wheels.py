"""Which packages the modelling code needs beside torch, and how they come from a folder of wheels."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = (
    "braing3n.pretrain.train",
    "braing3n.tokenizer.train",
    "braing3n.sweep.train",
    "monai.networks.nets",  # which a baseline imports once it is built
    "braing3n.diffusion.train",
    "braing3n.diffusion.sample",
    "braing3n.latents.cache",
    "braing3n.volumes.pack",
)

# Imports the modules as on a machine that has only the distributions given, and adds what is found missing
# until they come; each attempt in a child, since a module that failed halfway cannot be imported again.
_PROBE = """
import importlib, importlib.machinery, importlib.metadata, json, os, re, sys
root, modules, given = json.loads(sys.argv[1])
sys.path.insert(0, root)
owners = importlib.metadata.packages_distributions()
present = {re.sub("[-_.]+", "-", name).lower() for name in given}
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        names = {re.sub("[-_.]+", "-", owner).lower() for owner in owners.get(name, [])}
        is_blocked = names and not names & present and name not in sys.stdlib_module_names
        return None if is_blocked else super().find_spec(name, path, target)
sys.meta_path = [Finder if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
import torch
added = []
while True:
    reading, writing = os.pipe()
    if os.fork() == 0:
        described = ""
        try:
            for module in modules:
                importlib.import_module(module)
        except ImportError as error:
            while error.__cause__ or error.__context__:  # some libraries wrap what they miss
                error = error.__cause__ or error.__context__
            described = (error.name or str(error)).partition(".")[0]
        os.write(writing, described.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    missing = os.read(reading, 4096).decode()
    if not missing:
        break
    if missing not in owners or owners[missing][0] in added:
        sys.exit(f"{missing}: cannot be imported here either")
    added.append(owners[missing][0])
    present.add(re.sub("[-_.]+", "-", added[-1]).lower())
print(json.dumps(added))
"""


def list_wheels() -> list[str]:
    """What the modelling code needs beside torch and its own needs, as `name==version` of this machine.

    Known to be enough and no more: on a machine that lacks one of them, the modules cannot be imported.
    """
    given = ["torch", "braing3n", *_list_requirements("torch")]
    described = json.dumps([str(ROOT), MODULES, given])
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, described], check=True, stdout=subprocess.PIPE, text=True
    )
    names = json.loads(done.stdout.splitlines()[-1])
    return sorted(f"{name}=={importlib.metadata.version(name)}" for name in names)


def install_wheels(folder: Path) -> None:
    """Install a folder's wheels into a temporary one, without an index, and put that first on the path."""
    target = tempfile.mkdtemp(prefix="wheels-")
    wheels = sorted(str(path) for path in folder.glob("*.whl"))
    if not wheels:
        raise SystemExit(f"{folder}: holds no wheels.")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        target,
    ]
    subprocess.run([*command, *wheels], check=True)
    sys.path.insert(0, target)


def _list_requirements(name: str) -> set[str]:
    """All that a distribution requires here, and what that requires."""
    found, waiting = set(), [name]
    while waiting:
        try:
            requirements = importlib.metadata.requires(waiting.pop()) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        plain = [_normalise(re.match(r"[\w.-]+", line)[0]) for line in requirements if "extra ==" not in line]
        waiting += [one for one in plain if one not in found]
        found |= set(plain)
    return found


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
