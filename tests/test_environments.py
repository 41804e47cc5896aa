"""Conda environments and the lock: the same versions and hashes, and nothing that is needed left out."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from braing3n.cli import find_app

ROOT = Path(__file__).parents[1]
NAMES = ("models", "preprocess")


def read_environment(name):
    """Package -> (version, hashes) as pip reads the lines of an environment."""
    *_, packages = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"]
    found = {}
    for line in packages["pip"]:
        requirement, *hashes = line.split(" --hash=")
        parsed = Requirement(requirement)
        found[canonicalize_name(parsed.name)] = (str(parsed.specifier), {digest.strip() for digest in hashes})
    return found


def read_lock():
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.IGNORECASE)
    found = {}
    for entry in entries:
        parsed = Requirement(entry.split(" ", 1)[0])
        found[canonicalize_name(parsed.name)] = (
            str(parsed.specifier),
            set(re.findall(r"sha256:[0-9a-f]{64}", entry)),
        )
    return found


def list_needs(name):
    """What an installed package needs here, without extras."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # for another machine
        return set()
    needed = (Requirement(line) for line in lines)
    return {canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})}


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_the_versions_and_hashes_of_the_lock(name):
    lock = read_lock()
    for package, entry in read_environment(name).items():
        assert entry == lock[package], package
        assert entry[1], package


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_lacks_nothing_that_its_packages_need(name):
    packages = read_environment(name)
    for package in packages:
        assert list_needs(package) <= set(packages), package
    extra = {"antspyx", "simpleitk", "dcm2niix"}
    assert extra & set(packages) == (extra if name == "preprocess" else set())
    assert "snakemake" not in packages


def test_pip_can_read_what_conda_gives_it(tmp_path):
    """conda writes the lines of `pip:` into a file beside environment.yml, which pip installs with -r."""
    *_, packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (tmp_path / "requirements.lock").symlink_to(ROOT / "requirements.lock")
    (tmp_path / "conda.txt").write_text("\n".join(packages["pip"]) + "\n")
    code = (
        "from pip._internal.network.session import PipSession\n"
        "from pip._internal.req.req_file import parse_requirements\n"
        "for line in parse_requirements('conda.txt', session=PipSession()):\n"
        "    kind = 'editable' if line.is_editable else ''\n"
        "    print(line.requirement, kind, len(line.options.get('hashes', {})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(read_lock())
    assert all(line.endswith(" 1") and "editable" not in line for line in lines), "each with its hashes"


def test_pip_resolves_what_conda_gives_it(tmp_path):
    """What `make setup` installed has the locked versions, and they fit each other: nothing is fetched.

    But for argparse, which pip never takes for installed, since Python has one of its own.
    """
    *_, packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (tmp_path / "requirements.lock").symlink_to(ROOT / "requirements.lock")
    (tmp_path / "conda.txt").write_text("\n".join(packages["pip"]) + "\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--disable-pip-version-check"]
    done = subprocess.run([*command, "-r", "conda.txt"], cwd=tmp_path, capture_output=True, text=True)
    if "No matching distribution found for argparse" in done.stderr:
        pytest.skip("there is no package index")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^Would install (.*)$", done.stdout, re.MULTILINE) in ([], ["argparse-1.4.0"])


def test_setup_builds_with_locked_tools_alone(tmp_path):
    """What `make setup` runs, printed by make: nothing is installed without a hash or built in isolation."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").write_text((ROOT / "requirements.lock").read_text())
    printed = subprocess.run(
        ["make", "-n", "-B", "-f", ROOT / "Makefile", "setup"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    installs = [line for line in printed.splitlines() if " install " in line]
    assert len(installs) == 3
    assert all("--require-hashes" in line for line in installs[:2])
    assert all("--no-build-isolation" in line for line in installs[1:])
    (extract,) = (
        line.strip().lstrip("@") for line in printed.splitlines() if "build.lock" in line and "awk" in line
    )
    (tmp_path / ".venv").mkdir()
    subprocess.run(extract, shell=True, cwd=tmp_path, check=True)
    text = (tmp_path / ".venv" / "build.lock").read_text()
    assert re.findall(r"^(\S+?)==", text, re.MULTILINE) == ["setuptools"]
    assert "--hash=sha256:" in text


# What a run needs of the checkout.
KEPT = {
    "LICENSE",
    "Makefile",
    "README.md",
    "Snakefile",
    "environment.yml",
    "pyproject.toml",
    "requirements.lock",
}
KEPT |= {"braing3n", "cohorts", "config", "envs", "profiles", "slurm", "workflow"}


def read_docker():
    """Folder, what is copied, installation and entry point of the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    found = dict(
        line.split(" ", 1) for line in lines if line and not line.startswith("#")
    )  # the last of each
    assert found["FROM"].startswith("python:")
    assert found["COPY"].split() == [".", "."]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert ignored[0] == "*"
    copied = {line[1:] for line in ignored if line[0] == "!"}
    return found["WORKDIR"], copied, found["RUN"], json.loads(found["ENTRYPOINT"])


def read_apptainer():
    """The same of the Apptainer definition."""
    text = (ROOT / "apptainer.def").read_text()
    names, parts = re.findall(r"^%(\w+)$", text, re.MULTILINE), re.split(r"^%\w+$", text, flags=re.MULTILINE)
    found = {name: part.strip() for name, part in zip(names, parts[1:], strict=True)}
    assert "From: python:" in parts[0]
    path = re.search(r'PATH="([^:"]+)', found["environment"])[1]
    copied = dict(line.split() for line in found["files"].splitlines())
    (folder,) = {place.removesuffix(f"/{name}") for name, place in copied.items()}
    program, *words = shlex.split(found["runscript"].removeprefix("exec "))
    assert words.pop() == "$@"
    return folder, set(copied), found["post"].splitlines()[-1].strip(), [f"{path}/{program}", *words]


@pytest.mark.parametrize("read", [read_docker, read_apptainer])
def test_an_image_is_installed_by_make_setup_and_runs_the_bids_app(read):
    folder, copied, installed, entry = read()
    assert copied == KEPT, "no scans and no results that lie in the checkout"
    assert installed == "make setup"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert entry == [f"{folder}/.venv/bin/{name}" for name in scripts] + ["bids-app"]
    arguments = ["/data", "/out", "participant", "--participant-label", "01"]
    find_app(entry[1]).parse_args(arguments, exit_on_error=False, print_error=False)
    tracked = subprocess.run(["git", "ls-files", *KEPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split("/")[0] for line in tracked.stdout.splitlines()} == KEPT


@pytest.mark.parametrize(("status", "ends"), [(0, 0), (1, 2)])
def test_the_audit_looks_up_every_locked_package_and_fails_where_it_finds_a_fault(tmp_path, status, ends):
    """With a program in place of pip-audit, which writes down its words and has found faults or none."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").touch()
    for name in (".venv/.setup", ".venv-audit/bin/pip-audit"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/sh\necho $* > words\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["make", "-f", ROOT / "Makefile", "audit"], cwd=tmp_path, capture_output=True)
    assert done.returncode == ends
    words = (tmp_path / "words").read_text().split()
    assert words[-2:] == ["-r", "requirements.lock"]
    assert {"--strict", "--require-hashes"} <= set(words)
