"""The command line: `braing3n <word> <command>`, the same words in a shell, a test and the DAG."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Literal

from braing3n import WORDS, __version__
from braing3n.core.errors import BrainG3nError, name_extra
from braing3n.core.process import use_safe_path
from braing3n.core.runtime import explain_storage_fault, set_threads
from braing3n.core.scratch import unwind_on_sigterm

SHELLS: tuple[Literal["bash", "zsh", "fish"], ...] = ("bash", "zsh", "fish")
# Words with a command line that are not stages.
TRAINED = ("encode", "predict", "reconstruct", "generate", "counterfactual", "forecast")  # on a model folder
JUDGES = ("control", "fidelity", "memorization")
CONTAINERS = ("bids-app", "fomo26")  # entries that others call
TOOLS = (*TRAINED, *CONTAINERS, "resources", "stages", "config", "strays")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; an error that the user can fix is printed as one sentence, and the status is 2."""
    if arguments is None:
        use_safe_path()
        unwind_on_sigterm()
        arguments = sys.argv[1:]
    try:
        with explain_storage_fault("an output"):
            status = _answer(arguments)
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BrainG3nError as error:
        if os.environ.get("BRAING3N_DEBUG") == "1":
            raise
        print(f"braing3n: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        sentence = name_extra(error.name or "")
        if not sentence:
            raise
        print(f"braing3n: {sentence}", file=sys.stderr)
        return 2


def _answer(arguments: list[str]) -> int:
    """Run a command, or print the list of words, the version or a completion script."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_describe())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] == "run-training":
        from braing3n.upkeep.run_training import run_training

        arguments = run_training(arguments[1:])
    if arguments[0] == "completion":
        print(_write_completion(arguments[1:]))
        return 0
    set_threads(1)  # until a command is given more
    return _dispatch(arguments[0], arguments[1:])


def _write_completion(arguments: list[str]) -> str:
    """The script by which a shell completes words, commands and options."""
    from cyclopts import App

    if arguments[:1] in (["-h"], ["--help"]):
        return f"braing3n completion {'|'.join(SHELLS)}: print a completion script for a shell."
    shell = next((name for name in SHELLS if [name] == arguments[:1]), None)
    if shell is None:
        raise BrainG3nError(f"completion: name a shell: {', '.join(SHELLS)}.")
    whole = App(name="braing3n")
    for word in (*WORDS, *TOOLS):
        whole.command(find_app(word), name=word)
    return whole.generate_completion(shell=shell)


def find_app(word: str):
    """The commands of one word."""
    if word in CONTAINERS:
        return importlib.import_module(f"braing3n.apply.{word.replace('-', '_')}").app
    if word == "preprocess":  # a person's scans, beside the shards of the DAG
        return importlib.import_module("braing3n.apply.command").app
    if word == "probe":  # a person's own table, beside the encoders of the DAG
        return importlib.import_module("braing3n.apply.probe_table").app
    if word in JUDGES:  # of any two folders, beside those of the run
        return importlib.import_module("braing3n.apply.judges.command").find_app(word)
    if word in TRAINED:
        return importlib.import_module("braing3n.apply.trained.command").find_app(word)
    if word in WORDS:
        return importlib.import_module(f"braing3n.{word}.command").app
    return getattr(importlib.import_module("braing3n.upkeep.command"), f"{word}_app")


def _dispatch(word: str, arguments: list[str]) -> int:
    import difflib

    known = [*WORDS, *TOOLS]
    if word not in known:
        close = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"words: {', '.join(known)}."
        raise BrainG3nError(f"unknown word '{word}'; {hint}")
    try:
        status = find_app(word)(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except BrainG3nError:
        raise
    except FileNotFoundError as error:
        if str(error.filename) not in arguments:  # a file that nobody named is a fault of ours
            raise
        raise BrainG3nError(f"{word}: {error.filename}: no such file; check its path.") from None
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            raise BrainG3nError(f"{word}: {_first_line(error)} (see `braing3n {word} --help`).") from None
        raise
    return status if isinstance(status, int) else 0  # most commands return nothing


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = (lines or [type(error).__name__])[0].rstrip(".")
    return re.sub(r"^Parameter (-\S+) requires an argument$", r"\1 is missing, or has no value", line)


def _describe() -> str:
    lines = ["braing3n <word> <command> [options]: one word for each stage, in the order of the data."]
    described = {}
    for word in (*WORDS, *TOOLS):
        doc = importlib.import_module(f"braing3n.{word}").__doc__ if word in WORDS else find_app(word).help
        described[word] = str(doc).strip().splitlines()[0]
    described["run-training"] = "Start a training as a job does: on several GPUs, with a log."
    described["completion"] = "Print a completion script: braing3n completion bash."
    width = max(map(len, described))
    lines += [f"  {word:<{width}} {text}" for word, text in described.items()]
    lines.append("List the commands of a word: braing3n <word> --help")
    return "\n".join(lines)
