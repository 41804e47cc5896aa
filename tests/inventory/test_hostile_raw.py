"""A raw folder that somebody else filled: it stops nothing, nothing in it runs, nothing of it is changed."""

import json
import os
import subprocess
import sys

import pytest

from braing3n.cohort import Walk
from braing3n.core.errors import CohortError
from braing3n.inventory.files import digest_files, list_files
from braing3n.launch import start_run

NAME = "sub-01/anat/sub-01_T1w.nii.gz"
DATA = {"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}}}


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"scan")
    yield tmp_path / "raw"
    subprocess.run(["rm", "-rf", tmp_path / "raw"], check=True)  # pytest cannot, where it is deep


def walk(raw):
    """The files that are found, and the walk."""
    found = Walk()
    return [path for path, _ in list_files(raw, {}, found)], found


def nest(folder, depth):
    """A folder below 1,100 others, made step by step since no path of that length may be named at once."""
    here = os.getcwd()
    os.chdir(folder)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)


def test_a_link_to_a_folder_above_is_not_followed(raw):
    (raw / "sub-01" / "loop").symlink_to(raw)
    (raw / "sub-01" / "self").symlink_to(".")
    (raw / "here").symlink_to(raw / "sub-01" / "anat")
    files, found = walk(raw)
    assert files == [f"{raw}/here/sub-01_T1w.nii.gz", f"{raw}/{NAME}"], "a link beside is followed"
    assert set(found.unused) == {f"{raw}/sub-01/loop", f"{raw}/sub-01/self"}
    assert digest_files(raw, ()) == found.listing


def test_1100_nested_folders_stop_nothing(raw):
    nest(raw, 1100)
    (raw / "/".join("d" * 1100) / "deep.txt").write_text("x")
    files, found = walk(raw)
    assert len(files) == 2
    nest(raw / "sub-01", 2500)  # deeper than any path can be
    files, found = walk(raw)
    assert len(files) == 2
    assert "cannot be listed (File name too long)" in found.warnings[0]
    start_run(DATA, True, ["preprocess", "-n"])


def test_a_name_that_is_no_utf_8_stops_nothing_and_is_named(raw, capsys):
    with open(os.fsencode(raw) + b"/sub-01/anat/sub-01_b\xe4_T1w.nii.gz", "wb") as file:
        file.write(b"scan")
    os.mkdir(os.fsencode(raw) + b"/\xff")
    start_run(DATA, True, ["preprocess", "-n"])
    unused = (raw.parent / "results/x/inventory/mine/unused.tsv").read_text()
    assert "sub-01_b\\xe4_T1w.nii.gz\tits name is no UTF-8; rename it" in unused
    assert "raw/\\xff\t" in unused


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_said(raw, capsys):
    raw.chmod(0)
    with pytest.raises(SystemExit):
        start_run(DATA, True, ["preprocess", "-n"])
    raw.chmod(0o755)
    assert "cannot be read (Permission denied)" in capsys.readouterr().err


def test_a_folder_that_may_not_be_listed_is_a_warning_and_the_raw_folder_itself_an_error(raw, monkeypatch):
    closed = {raw / "sub-01" / "anat", raw}
    opened = os.open

    def refuse(path, *arguments, **options):
        if os.fspath(path).rstrip("/") in {str(item) for item in closed}:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr("braing3n.inventory.files.os.open", refuse)
    with pytest.raises(CohortError, match=r"cannot be read .Permission denied.; ask for permission"):
        walk(raw)
    closed.remove(raw)
    files, found = walk(raw)
    assert files == []
    assert found.warnings == [f"the folder {raw}/sub-01/anat cannot be listed (Permission denied)."]


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", '"x"', "{", '{"given": 3}', '{"raw/participants.tsv": 3}']
)
def test_what_is_kept_beside_an_inventory_may_be_anything(raw, content):
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    start_run(DATA, True, ["preprocess", "-n"])
    folder = raw.parent / "results/x/inventory/mine"
    before = {path.name: path.read_text() for path in folder.glob("*.tsv")}
    for name in (".walk.json", ".digests.json", ".headers.json"):
        (folder / name).write_text(content)
    start_run(DATA, True, ["preprocess", "-n"])
    assert {path.name: path.read_text() for path in folder.glob("*.tsv")} == before
    assert json.loads((folder / ".walk.json").read_text())["listing"]


def test_control_characters_of_a_name_reach_no_terminal(raw, capfd):
    (raw / "sub-01/anat/\x1b]0;owned\x07_T1w.nii.gz").write_bytes(b"scan")
    (raw / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    start_run(DATA, True, ["preprocess", "-n"])
    printed = "".join(capfd.readouterr())
    assert r"\x1b]0;owned\x07_T1w.nii.gz" in printed
    assert not [sign for sign in printed if sign in "\x07\x1b"]


@pytest.mark.parametrize("name", ["sub-=cmd|x_T1w", "sub-01_ses-+1_T1w", "sub-01_run-@x_T1w"])
def test_an_id_that_a_spreadsheet_would_run_begins_no_cell(raw, name):
    (raw / f"sub-01/anat/{name}.nii.gz").write_bytes(b"scan")
    start_run(DATA, True, ["preprocess", "-n"])
    results = raw.parent / "results/x"
    tables = [*results.rglob("*.tsv")]
    assert {path.name for path in tables} >= {"scans.tsv", "unused.tsv", "participants.tsv"}
    cells = [cell for path in tables for cell in path.read_text().replace("\n", "\t").split("\t")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert (
        "is no label, which begins with a letter or a digit"
        in (results / "inventory/mine/unused.tsv").read_text()
    )


def test_a_hostile_raw_folder_runs_nothing_and_loses_nothing(raw, monkeypatch):
    canary = raw.parent / "thesis.txt"
    canary.write_text("three years of work")
    program = raw.parent / "ran"
    for name in ("pandas.py", "sitecustomize.py", "conftest.py", "braing3n.py", "code/run.py"):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_text(f"open({str(program)!r}, 'w')\n")
    (raw / "sub-01/anat/sub-01_T1w.json").write_text(json.dumps({"Files": {str(canary): "0"}, "Key": "x"}))
    (raw / "sub-01/anat/$(touch ran)_T1w.nii.gz").write_bytes(b"scan")
    (raw / "sub-02/anat").mkdir(parents=True)
    (raw / "sub-02/anat/sub-02_T1w.nii.gz").symlink_to(canary)
    (raw / "participants.tsv").write_text(
        f"participant_id\tsex\nsub-01\t=cmd|'/c calc'!A1\nsub-02\t{canary}\n"
    )
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    start_run(DATA, True, ["preprocess", "-n"])
    assert not program.exists()
    assert canary.read_text() == "three years of work"
    assert {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()} == before
    assert str(raw) not in sys.path
