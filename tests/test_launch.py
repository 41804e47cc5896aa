"""What is written before there is a DAG: settings files, each only where its content changed."""

import json
from pathlib import Path

import pytest

from braing3n.config import Config, parse_config
from braing3n.core.settings import Settings
from braing3n.launch import list_settings, write_settings, write_summary

CONFIG = parse_config({"run": "mine", "cohorts": {"ixi": {"raw_dir": "raw"}, "lab": {"raw_dir": "lab"}}})


def list_leaves(section, path=()):
    """Every setting of a configuration, as the names that lead to it."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Settings):
            yield from list_leaves(value, (*path, name))
        elif path:  # what stands at the top names the run, and where its scans lie
            yield (*path, name)


def change(section, path):
    """The section with another value at a path; whether it is a sensible one does not matter here."""
    name, *rest = path
    value = getattr(section, name)
    if rest:
        return section.model_copy(update={name: change(value, rest)})
    if isinstance(value, bool):
        other = not value
    elif isinstance(value, int | float):
        other = value + 1
    elif isinstance(value, str):
        other = value + "x"
    elif isinstance(value, dict):
        other = {**value, "x": "classification"}
    elif value and isinstance(value[-1], int | float):
        other = (*value[:-1], value[-1] + 1)
    else:
        other = (*value, "x")
    return section.model_copy(update={name: other})


def find_file(path):
    """The settings file that a setting belongs to, by its own account of what stands apart."""
    name, section = path[0], getattr(CONFIG, path[0])
    for part in path[1:]:
        if part not in section.list_apart():
            break
        name, section = f"{name}.{part}", getattr(section, part)
        if not isinstance(section, Settings):
            break
    return name


LEAVES = sorted(list_leaves(CONFIG))


def test_there_are_as_many_settings_as_on_record():
    assert len(LEAVES) > 150
    assert ("pretrain", "optimiser", "lr") in LEAVES
    assert ("sweep", "akl", "optimiser", "lr") in LEAVES


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_changed_setting_moves_the_file_of_its_section_and_no_other(path):
    before, after = dict(list_settings(CONFIG)), dict(list_settings(change(CONFIG, path)))
    moved = {name for name in before if before[name] != after[name]}
    # Where weights of ours lie is nothing that results depend on; those of others are read from the file.
    is_given = path[-1] == "weights" and path[0] != "latents"
    assert moved == (set() if is_given else {find_file(path)})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("preprocess.seed", "preprocess"),
        ("manifest.count_tolerance", "manifest.count_tolerance"),
        ("manifest.max_outlier_score", "manifest.max_outlier_score"),
        ("latents.encoders", "latents.encoders"),
        ("latents.foreign.weights", "latents.foreign"),
        ("probe.columns", "probe.columns"),
        ("sweep.modality", "sweep"),
        ("sweep.d", "sweep.d"),
        ("sweep.budgets", "sweep.budgets"),
        ("sweep.probe.tasks", "sweep.probe"),
        ("sweep.akl.optimiser.lr", "sweep.akl"),
    ],
)
def test_what_jobs_do_not_share_stands_apart(path, name):
    assert find_file(path.split(".")) == name


def test_files_are_written_where_their_content_changed_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_settings(CONFIG)
    folder = Path("results/mine/settings")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"cohorts.ixi.json", "cohorts.lab.json", "resources.json", "sweep.akl.json"} <= set(before)
    assert json.loads((folder / "volumes.json").read_text()) == Config().volumes.model_dump(mode="json")
    changed = CONFIG.volumes.model_copy(update={"crop": "atlas_centred"})
    write_settings(CONFIG.model_copy(update={"volumes": changed}))
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"volumes.json"}


def test_what_is_kept_for_the_page_says_no_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resources = {"paths": {"sri24": "secret/atlas"}}
    places = {"cohorts": {"lab": {"raw_dir": "secret/raw"}}, "resources": resources}
    foreign = {"weights": {"brainiac": "secret/weights"}, "channel_fill": "slot"}
    write_summary(parse_config({"run": "mine", "latents": {"foreign": foreign}, **places}))
    kept = Path("results/mine/inventory/settings.json").read_text()
    assert "secret" not in kept
    assert json.loads(kept)["latents"]["foreign"]["channel_fill"] == "slot"
