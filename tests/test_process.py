"""A Python file beside the scans is never run: a canary program in place of each library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CANARIES = ("pandas", "numpy", "torch", "multiprocessing", "hashlib", "nibabel", "json", "yaml", "filelock")


@pytest.fixture
def folder(tmp_path):
    """A working folder in which each canary leaves a file when it is run."""
    for name in CANARIES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / f'{name}.ran')!r}, 'w')\n")
    (tmp_path / "cohorts.yaml").write_text("run: x\n")
    return tmp_path


def list_run(folder):
    return sorted(path.name for path in folder.glob("*.ran"))


@pytest.mark.parametrize("words", [["--help"], ["preprocess", "missing.nii.gz", "-o", "out"]])
def test_the_command_imports_nothing_from_the_working_folder(folder, words):
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "braing3n", *words]
    subprocess.run(command, cwd=folder, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert list_run(folder) == []


def test_worker_processes_import_nothing_from_the_working_folder(folder):
    program = (
        "import sys; from braing3n.process import use_safe_path; use_safe_path()\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "import os\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, get_context('spawn')) as pool:\n"
        "        print(pool.submit(os.getcwd).result())\n"
    )
    (folder / "elsewhere").mkdir()
    path = folder / "elsewhere" / "program.py"
    path.write_text(program)
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(folder), done.stderr
    assert list_run(folder) == []


def test_every_rule_runs_with_a_safe_path():
    text = (ROOT / "Snakefile").read_text()
    assert 'os.environ["PYTHONSAFEPATH"] = "1"' in text
