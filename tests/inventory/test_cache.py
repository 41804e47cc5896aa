"""An inventory stands while nothing that it was made from moved; whatever moves is noticed."""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from braing3n.cohort import COHORTS_DIR, load_cohort
from braing3n.config import parse_config
from braing3n.core.errors import CohortError
from braing3n.inventory import build
from braing3n.inventory.build import build_inventories
from braing3n.inventory.miniature import write_placeholders

INVENTORY = Path("results/run/inventory/mine")
PARTICIPANTS = Path("results/run/preprocess/mine/participants.tsv")
OPENED: list[str] = []


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def walks(monkeypatch):
    """Gains the key of each cohort whose raw folder is walked in earnest."""
    walked, walk = [], build.walk_cohort
    monkeypatch.setattr(
        build, "walk_cohort", lambda key, *arguments: (walked.append(key), walk(key, *arguments))[1]
    )
    return walked


def configure(kind, **more):
    return parse_config({"run": "run", "cohorts": {"mine": {"kind": kind, "raw_dir": "raw", **more}}})


def write_bids():
    for number in range(6):
        path = Path(f"raw/sub-{number:02d}/anat/sub-{number:02d}_T1w.nii.gz")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a scan")
    Path("raw/participants.tsv").write_text("participant_id\tage\nsub-00\t30\n")
    return configure("bids", n_shards=2)


def read_inventory():
    """Every table of the inventory."""
    return {path.name: path.read_text() for path in sorted(INVENTORY.glob("*.tsv"))}


@cache
def _listen():
    """Note each file that Python opens from now on."""

    def note(event, arguments):
        if event == "open" and isinstance(arguments[0], str | Path):
            OPENED.append(str(arguments[0]))

    sys.addaudithook(note)


def list_opened():
    """The files of the raw folder that were opened since the last call."""
    found = [path for path in OPENED if "raw" in Path(path).parts and not Path(path).is_dir()]
    OPENED.clear()
    return found


@pytest.mark.parametrize("kind", ["bids", "adhd200", "bgsp", "fcon1000"])
def test_a_walk_with_nothing_changed_opens_no_raw_file_and_writes_nothing(kind, walks):
    config = write_bids() if kind == "bids" else configure(kind)
    if kind != "bids":
        write_placeholders(Path("raw"), load_cohort(kind))
    _listen()
    list_opened()
    build_inventories(config)
    assert list_opened(), "the listener listens"
    before = {path: path.stat() for path in sorted(Path("results").rglob("*"))}
    build_inventories(config)
    assert not list_opened()
    assert walks == ["mine"]
    assert {path: path.stat().st_mtime_ns for path in sorted(Path("results").rglob("*"))} == {
        path: stat.st_mtime_ns for path, stat in before.items()
    }


def add(path):
    new = path.parents[2] / "sub-99" / "anat" / "sub-99_T1w.nii.gz"
    new.parent.mkdir(parents=True)
    new.write_bytes(b"another")


def replace_in_place(path):
    """Other bytes of the same number."""
    path.write_bytes(b"a scam")


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def shorten(path):
    """Fewer bytes at the same time."""
    time_ns = path.stat().st_mtime_ns
    path.write_bytes(b"a")
    os.utime(path, ns=(time_ns, time_ns))


def rename(path):
    path.rename(path.with_name(path.name.replace("_T1w", "_T2w")))


def link_to_nothing(path):
    (path.parent / "sub-03_T2w.nii.gz").symlink_to("nowhere")


def correct_a_cell(path):
    (path.parents[2] / "participants.tsv").write_text("participant_id\tage\nsub-00\t31\n")


@pytest.mark.parametrize(
    "change", [add, Path.unlink, replace_in_place, touch, shorten, rename, link_to_nothing, correct_a_cell]
)
def test_a_change_in_the_raw_folder_is_noticed(change, walks):
    config = write_bids()
    build_inventories(config)
    before = read_inventory()
    change(Path("raw/sub-03/anat/sub-03_T1w.nii.gz"))
    build_inventories(config)
    after = read_inventory()
    assert len(walks) == 2
    assert after != before
    shutil.rmtree("results")
    build_inventories(config)
    assert read_inventory() == after, "as a walk that knows of nothing"


def test_a_folder_that_is_not_entered_does_not_count(walks):
    config = write_bids()
    Path("raw/derivatives").mkdir()
    build_inventories(config)
    Path("raw/derivatives/much.nii.gz").touch()
    build_inventories(config)
    assert len(walks) == 1


def test_a_changed_option_is_noticed(walks):
    write_placeholders(Path("raw"), load_cohort("ucsf_pdgm"))
    build_inventories(configure("ucsf_pdgm"))
    before = read_inventory()
    build_inventories(configure("ucsf_pdgm", options={"files": "plain"}))
    assert len(walks) == 2
    assert read_inventory()["scans.tsv"] != before["scans.tsv"]


def test_another_number_of_shards_or_another_folder_is_noticed(walks):
    config = write_bids()
    build_inventories(config)
    build_inventories(configure("bids", n_shards=3))
    assert len(list(INVENTORY.glob("shard-*.tsv"))) == 3
    shutil.copytree("raw", "moved")
    build_inventories(configure("bids", n_shards=3, raw_dir="moved"))
    assert len(walks) == 3
    assert "moved/sub-00" in read_inventory()["scans.tsv"]


def test_a_changed_cohort_file_is_noticed(walks, monkeypatch):
    config = write_bids()
    shutil.copytree(COHORTS_DIR, "cohorts")
    monkeypatch.setattr("braing3n.cohort.registry.COHORTS_DIR", Path("cohorts"))
    build_inventories(config)
    with open("cohorts/bids.py", "a") as file:
        file.write("\n# Something else.\n")
    build_inventories(config)
    assert len(walks) == 2
    with open("cohorts/adni.py", "a") as file:
        file.write("\n# Another cohort's.\n")
    build_inventories(config)
    assert len(walks) == 2


def test_changed_code_is_noticed(walks, monkeypatch):
    config = write_bids()
    build_inventories(config)
    monkeypatch.setattr("braing3n.inventory.cache.CODE", "another")
    build_inventories(config)
    assert len(walks) == 2


@pytest.mark.parametrize("path", [INVENTORY / "scans.tsv", INVENTORY / "shard-001.tsv", PARTICIPANTS])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("mine\n")])
def test_a_lost_or_edited_inventory_is_written_again(path, spoil):
    config = write_bids()
    build_inventories(config)
    content = path.read_text()
    spoil(path)
    build_inventories(config)
    assert path.read_text() == content


def test_a_record_that_was_cut_off_counts_for_nothing(walks):
    config = write_bids()
    build_inventories(config)
    path = INVENTORY / ".walk.json"
    path.write_text(path.read_text()[:100])
    build_inventories(config)
    assert len(walks) == 2


def test_what_is_there_twice_is_said_each_time(walks, capsys):
    write_placeholders(Path("raw"), load_cohort("bgsp"))
    shutil.copy("raw/GSP_list_140630.csv", "raw/GSP_part2_140630/GSP_list_140630.csv")
    config = configure("bgsp")
    build_inventories(config)
    first = capsys.readouterr().err
    build_inventories(config)
    second = capsys.readouterr().err
    assert walks == ["mine"]
    assert "is a second copy of" in second
    assert "scans are there twice" in second
    assert set(second.splitlines()) < set(first.splitlines()), "what is not read is said once"


def test_a_raw_folder_that_is_gone_stops(walks):
    config = write_bids()
    build_inventories(config)
    shutil.rmtree("raw")
    with pytest.raises(CohortError, match="does not exist"):
        build_inventories(config)


def test_of_several_cohorts_only_the_changed_one_is_walked(walks):
    write_bids()
    shutil.copytree("raw", "other")
    cohorts = {
        key: {"kind": "bids", "raw_dir": folder} for key, folder in (("mine", "raw"), ("yours", "other"))
    }
    config = parse_config({"run": "run", "cohorts": cohorts})
    build_inventories(config)
    build_inventories(config)
    assert walks == ["mine", "yours"]
    touch(Path("other/sub-03/anat/sub-03_T1w.nii.gz"))
    build_inventories(config)
    assert walks == ["mine", "yours", "yours"]


def test_nothing_is_written_to_the_raw_folder():
    config = write_bids()
    folders = [Path("raw"), *(path for path in Path("raw").rglob("*") if path.is_dir())]
    before = sorted(Path("raw").rglob("*"))
    for folder in folders:
        folder.chmod(0o500)
    try:
        build_inventories(config)
        build_inventories(config)
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert sorted(Path("raw").rglob("*")) == before
