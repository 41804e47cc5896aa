"""The pages: their links and files exist, and the commands that they print are understood."""

import re
import shlex
from pathlib import Path

import pytest

from braing3n.cli import find_app

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config" / "README.md"])
}
FOLDERS = "bench|braing3n|cohorts|config|docs|tests|workflow"
WITHOUT_CORES = ("--dry-run", "--list-rules", "--profile", "--unlock")  # these run nothing here


@pytest.fixture(params=PAGES)
def name(request):
    """Each page in turn, as its path in the checkout."""
    return request.param


def list_commands(text):
    """What a page prints to be typed: the lines of its plain fences, and whole commands within a sentence."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    plain = "\n".join(content for language, content in fences if not language).replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in plain.splitlines()]
    spans = [span for span in re.findall(r"`([^`\n]+)`", text) if " -o " in span or "--configfile" in span]
    return [re.sub(r"^(\.venv/bin/)?(python -m )?", "", line) for line in [*lines, *spans]]


def list_anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_links_lead_to_a_file_and_a_heading(name):
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), link
            assert not anchor or anchor in list_anchors(target.read_text(encoding="utf-8")), link


def test_files_of_the_checkout_that_are_named_exist(name):
    named = re.findall(rf"`(?:python )?((?:{FOLDERS})/[\w./-]+)", PAGES[name])
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_printed_command_is_understood(name):
    for command in list_commands(PAGES[name]):
        if command.startswith("braing3n "):
            word, *arguments = shlex.split(command)[1:]
            find_app(word).parse_args(arguments, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"CHANGELOG.md"}))  # which also shows what cannot work
def test_a_printed_run_names_its_cores_and_ends_with_its_configuration(name):
    runs = [item for item in list_commands(PAGES[name]) if re.match("snakemake .*--configfile", item)]
    assert [run for run in runs if "--cores" not in run and not any(w in run for w in WITHOUT_CORES)] == []
    assert [run for run in runs if not re.search(r" --configfile \S+$", run)] == []


def test_commands_are_found():
    found = [command for text in PAGES.values() for command in list_commands(text)]
    assert "snakemake all --cores 8 --configfile my.yaml" in found
    assert "braing3n encode study/ --model model -o out/ --tokens" in found
    assert any(command.startswith("braing3n sweep baseline ") and "--budget" in command for command in found)
