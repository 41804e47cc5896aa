"""Start a training as a job: one process for each GPU, a log, and signals for the training alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from braing3n.core.errors import BrainG3nError

USAGE = "run-training [--gpus N] [--log FILE] <word> <command> [options]"


def run_training(arguments: list[str]) -> list[str]:
    """Prepare this process for a training, and return the command that it runs.

    With more than one GPU this process becomes `torchrun`, which starts one process for each of them.
    All output also goes to the log. A scheduler's SIGTERM and a terminal's Ctrl-C reach every process of a
    job: the training saves its state and ends, and the process that writes the log ignores them.

    Raises:
        BrainG3nError: an option is not one of these, or no command is named.
    """
    options, command = _split(arguments)
    if log := options.get("--log"):
        _write_log(Path(log))
    if int(options.get("--gpus", "0")) > 1:
        processes = ["--standalone", "--nproc-per-node", options["--gpus"], "--module", "braing3n", *command]
        os.execvp(sys.executable, [sys.executable, "-m", "torch.distributed.run", *processes])
    return command


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    while arguments and arguments[0].startswith("-"):
        name, *rest = arguments
        if name in ("-h", "--help"):
            print(f"braing3n {USAGE}")
            raise SystemExit(0)
        if name not in ("--gpus", "--log") or not rest or (name == "--gpus" and not rest[0].isdigit()):
            raise BrainG3nError(f"run-training: {name} is not understood; {USAGE}.")
        options[name], arguments = rest[0], rest[1:]
    if not arguments:
        raise BrainG3nError(f"run-training: no command is named; {USAGE}.")
    return options, arguments


def _write_log(path: Path) -> None:
    """Send what this process and its children print through `tee`, which outlives their signals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    tee = subprocess.Popen(["tee", str(path)], stdin=subprocess.PIPE)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert tee.stdin is not None  # a pipe, as asked for
    for stream in (1, 2):
        os.dup2(tee.stdin.fileno(), stream)
