"""Write `envs/*.yaml` from `requirements.lock`: each environment has its packages' versions and hashes.

The lock names, below each package, the packages that need it; an environment takes the direct dependencies
of `pyproject.toml`, those of its extra, and what these need. Run by `make relock`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = {
    "models": (("fidelity",), "Everything after preprocessing: neither ANTs nor Snakemake."),
    "preprocess": (
        ("preprocess", "hd-bet"),
        "From raw scans to SRI24: ANTs and brain extraction.",
    ),
}
HEAD = """\
# {title}
# Written by `make relock`. Two packages of preprocessing have no wheel: set PIP_NO_BUILD_ISOLATION=0, which
# pip reads as "without isolation", and conda's setuptools builds them, not whatever is newest.
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip=25.3
  - setuptools
  - pip:
"""


def normalise(name: str) -> str:
    """A package's name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> dict[str, tuple[str, list[str], set[str]]]:
    """Package -> its version, its hashes, and the packages that need it."""
    packages = {}
    for block in re.findall(r"^[^\s#].*\n(?:[ ].*\n)*", path.read_text(), re.MULTILINE):
        name, version = re.match(r"([^\s=]+)==(\S+)", block).groups()
        comments = " ".join(re.findall(r"#(.*)", block)).removeprefix(" via")
        packages[normalise(name)] = (
            version,
            re.findall(r"--hash=(\S+)", block),
            {normalise(word) for word in comments.split() if not word.startswith("(")},
        )
    return packages


def choose_packages(packages: dict, project: dict, extras: tuple[str, ...]) -> list[str]:
    """The project's dependencies with some extras, and what these need."""
    named = project["dependencies"] + [
        line for extra in extras for line in project["optional-dependencies"][extra]
    ]
    chosen = {normalise(re.match(r"[\w.-]+", line)[0]) for line in named}
    while more := {name for name, (_, _, users) in packages.items() if users & chosen} - chosen:
        chosen |= more
    return sorted(chosen)


def write_environment(name: str, packages: dict, project: dict) -> str:
    """The text of an environment file."""
    extras, title = ENVIRONMENTS[name]
    lines = [HEAD.format(title=title)]
    for package in choose_packages(packages, project, extras):
        version, hashes, _ = packages[package]
        lines.append(
            f"      - {package}=={version} " + " ".join(f"--hash={digest}" for digest in hashes) + "\n"
        )
    return "".join(lines)


if __name__ == "__main__":
    locked = read_lock(ROOT / "requirements.lock")
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in ENVIRONMENTS:
        (ROOT / "envs" / f"{word}.yaml").write_text(write_environment(word, locked, described))
