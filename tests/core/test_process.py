"""A Python file beside the scans is never run: a canary program in place of each library."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
        "import sys; from braing3n.core.process import use_safe_path; use_safe_path()\n"
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


SNAKEFILE = """
from braing3n.core.process import stop_jobs_on_sigterm
onstart:
    stop_jobs_on_sigterm()
rule train:
    output: "weights"
    shell: "trap '' TERM INT; {sys.executable} train.py 2>&1 | cat"
"""
TRAIN = """
import pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path("saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path("started").touch()
time.sleep(600)
"""


def test_a_sigterm_to_snakemake_alone_lets_a_training_save_and_end(tmp_path):
    (tmp_path / "Snakefile").write_text("import sys\n" + SNAKEFILE)
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, "-m", "snakemake", "train", "--cores", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (tmp_path / "started").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.terminate()
        assert process.wait(120) == 1
        assert (tmp_path / "saved").exists()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
