"""One whole smoke run, shared by the tests of the DAG; each test leaves it as it found it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"


def snakemake(directory, *arguments, config=SMOKE, root=ROOT, cores=2, **options):
    """Run Snakemake as a user would, with its outputs in `directory`; `root` is the checkout."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", str(cores)]
    command += ["--directory", str(directory), "--snakefile", str(root / "Snakefile")]
    command += ["--configfile", str(config)]
    environment = {key: value for key, value in os.environ.items() if key != "BRAING3N_DEBUG"}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment, **options)


def plan(directory, *arguments, config=SMOKE, root=ROOT, target="all"):
    """The jobs that a dry run plans: rule -> count."""
    done = snakemake(directory, target, "--dry-run", *arguments, config=config, root=root)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", text, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in text, text
        return {}
    return {name: int(n) for name, n in (line.split() for line in table[1].splitlines() if line.strip())}


def touch_scans(folder, n_people=100):
    """T1 scans that only a dry run can use, of people enough that no split is empty."""
    for number in range(1, n_people + 1):
        path = folder / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def copy_checkout(folder):
    """A checkout that a test may change."""
    for name in ("Snakefile", "workflow", "braing3n", "cohorts", "config", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copy(ROOT / name, folder / name)
    return folder


def link_wheels(directory, fetch_resource, names=("sri24", "brain-templates", "head-template")):
    """Put verified wheels where a run in `directory` looks for them."""
    folder = directory / "resources"
    folder.mkdir(exist_ok=True)
    for name in names:
        wheel = fetch_resource(name)
        if not (folder / wheel.name).exists():
            (folder / wheel.name).symlink_to(wheel.resolve())


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory, fetch_resource):
    """The folder of a finished smoke run."""
    directory = tmp_path_factory.mktemp("smoke")
    link_wheels(directory, fetch_resource)
    done = snakemake(directory, "all")
    assert done.returncode == 0, done.stderr[-5000:]
    return directory
