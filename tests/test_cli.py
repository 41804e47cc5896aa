"""The command line as its users meet it: each option says what it is, and a slip is one sentence."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docstring_parser import parse

from braing3n import WORDS
from braing3n.cli import TOOLS, find_app, main
from braing3n.cohort import load_cohort
from braing3n.core.errors import BrainG3nError

ROOT = Path(__file__).parents[1]


def list_commands():
    """Every command of every word: (what one types, its function)."""
    for word in (*WORDS, *TOOLS):
        app = find_app(word)
        for name in app:
            if not name.startswith("-"):
                yield f"{word} {name}", app[name].default_command


COMMANDS = dict(list_commands())


def test_every_stage_has_commands():
    words = {typed.split()[0] for typed in COMMANDS}
    assert words >= {"inventory", "ingest", "preprocess", "manifest", "volumes", "pretrain", "probe", "paper"}


def test_the_help_of_all_words_is_one_aligned_column(capsys):
    assert main(["--help"]) == 0
    rows = [re.fullmatch(r"  (\S+)( +)(.+)", line) for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert [row[1] for row in rows] == [*WORDS, *TOOLS, "run-training", "completion"]
    assert len({row.start(3) for row in rows}) == 1


@pytest.mark.parametrize("typed", COMMANDS)
def test_help_describes_every_option(typed):
    function = COMMANDS[typed]
    own = [item.arg_name for item in parse(function.__doc__).params if item.description]
    parameters = inspect.signature(function, eval_str=True).parameters
    shared = [name for name, parameter in parameters.items() if has_help(parameter.annotation)]
    assert sorted(own + shared) == sorted(parameters)  # each once


def has_help(annotation):
    """Whether an option's type brings its description, as those of braing3n.core.options do."""
    return any(getattr(item, "help", None) for item in getattr(annotation, "__metadata__", ()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["preproces"], "unknown word 'preproces'; did you mean 'preprocess'?"),
        (["preprocess", "x.nii.gz", "-o", "out", "--striped"], "Did you mean --stripped?"),
        (["preprocess", "shard"], "--inventory"),
    ],
)
def test_a_slip_is_one_sentence(arguments, sentence, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("braing3n: ")
    assert sentence in said
    assert "\n" not in said


@pytest.mark.parametrize("words", ["config write", "stages check", "stages relock"])
def test_what_needs_the_checkout_says_so_beside_an_installed_package(words, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("braing3n.core.errors.ROOT", tmp_path)
    assert main(words.split()) == 2
    assert "needs the whole repository, not the package alone" in capsys.readouterr().err


def test_a_cohort_file_beside_an_installed_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("braing3n.core.errors.ROOT", tmp_path)
    with pytest.raises(BrainG3nError, match=r"cohorts/adnii\.py: needs the whole repository"):
        load_cohort("adnii")


@pytest.mark.parametrize("words", ["--help", "preprocess --help"])
def test_a_reader_that_has_read_enough_is_no_fault(words):
    line = f"{sys.executable} -m braing3n {words} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_words_and_commands(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("braing3n", "preprocess", "strays", "volume-list"))


def test_a_shell_that_is_not_known_is_one_sentence(capsys):
    assert main(["completion", "csh"]) == 2
    assert "name a shell: bash, zsh, fish" in capsys.readouterr().err


def test_help_of_completion_names_the_shells(capsys):
    assert main(["completion", "--help"]) == 0
    assert "bash|zsh|fish" in capsys.readouterr().out


def test_usage_begins_with_the_programs_name(capsys):
    for words in (["pretrain", "train"], ["strays", "list"]):
        main([*words, "--help"])
        assert f"Usage: braing3n {' '.join(words)} " in capsys.readouterr().out


def test_a_file_that_is_not_there_is_one_sentence(capsys, tmp_path):
    missing = str(tmp_path / "gone.parquet")
    assert main(["sweep", "choose", "--volume-list", missing, "--out", str(tmp_path / "o.parquet")]) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert missing in sentence
    given = ["--tokens", missing, "--tokenizer", "t", "--labels", "l", "--pairs", "p", "--weights", "w"]
    assert main(["longitudinal", "train", *given, "--settings", "{}"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_no_text_of_a_message_commands_the_terminal(capsys):
    assert main(["\x1b[31mprobe\u202e"]) == 2
    assert "unknown word '\\x1b[31mprobe\\u202e'" in capsys.readouterr().err
