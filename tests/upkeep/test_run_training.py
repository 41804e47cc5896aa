"""How a job starts a training: one process or one a GPU, a log of all that it prints, clear mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.core.errors import BrainG3nError
from braing3n.upkeep.run_training import run_training

ROOT = Path(__file__).parents[2]
TRAIN = ["pretrain", "train", "--threads", "2"]


@pytest.mark.parametrize("options", [[], ["--gpus", "0"], ["--gpus", "1"]])
def test_one_process_runs_the_command_itself(options, monkeypatch):
    monkeypatch.setattr(os, "execvp", lambda *given: pytest.fail("started another process"))
    assert run_training([*options, *TRAIN]) == TRAIN


def test_several_gpus_are_a_process_each(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execvp", lambda program, words: started.append((program, words)))
    run_training(["--gpus", "4", *TRAIN])
    ((program, words),) = started
    assert program == words[0] == sys.executable
    assert words[1:3] == ["-m", "torch.distributed.run"]
    assert words[words.index("--nproc-per-node") + 1] == "4"
    assert words[-5:] == ["braing3n", *TRAIN]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no command is named"),
        (["--gpus", "2"], "no command is named"),
        (["--gpu", "2", *TRAIN], "--gpu is not understood"),
        (["--gpus", "two", *TRAIN], "--gpus is not understood"),
        (["--log"], "--log is not understood"),
    ],
)
def test_a_mistake_names_the_usage(words, sentence):
    with pytest.raises(BrainG3nError, match=f"{sentence}; run-training .--gpus N. .--log FILE."):
        run_training(words)


@pytest.mark.parametrize("name", ["-h", "--help"])
def test_help_is_its_usage(capsys, name):
    with pytest.raises(SystemExit) as caught:
        run_training([name])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("braing3n run-training [--gpus N]")


def test_what_is_printed_and_what_fails_is_in_the_log_and_the_status_is_the_commands(tmp_path):
    command = [
        sys.executable,
        "-m",
        "braing3n",
        "run-training",
        "--log",
        "logs/a.log",
        "resources",
        "fetch",
        "none",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == (tmp_path / "logs" / "a.log").read_text()
    assert done.stdout.startswith("braing3n: ")
