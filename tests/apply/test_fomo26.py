"""The FOMO26 container: built into a folder, run as the challenge runs it, held against its rules."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.processing import resample_to_output

from braing3n.apply import fomo26
from braing3n.cli import main
from braing3n.core.errors import BrainG3nError
from braing3n.phantoms.formats import write_nifti
from braing3n.phantoms.miniature import load_world
from braing3n.phantoms.people import draw_people
from braing3n.phantoms.scanner import scan_head
from braing3n.upkeep.command import fetch

ROOT = Path(__file__).parents[2]
DEFINITION = ROOT / "fomo26" / "apptainer.def"
LIMIT_S = 900  # of the validator, for one case
N_SHOWN = 500  # characters of a failed case's error stream
# What the container's file system and the evaluation's network refuse, in Python and the Pythons it starts.
GUARD = """
import errno, os, sys
CHANGES = {"os.chmod", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.utime"}
LOCKED = tuple(os.environ["LOCKED"].split(os.pathsep))
def guard(event, args):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(args[1], tuple):
        raise OSError(errno.ENETUNREACH, "there is no network")
    flags = args[2] if event == "open" else 0
    if event in CHANGES or isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        for path in args[:2]:
            is_path = isinstance(path, (str, bytes, os.PathLike))
            if is_path and os.path.abspath(os.fsdecode(path)).startswith(LOCKED):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
sys.addaudithook(guard)
"""


def read_sections():
    """The definition's header and sections."""
    parts = re.split(r"^%(\w+)\n", DEFINITION.read_text(), flags=re.MULTILINE)
    return {"header": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def list_copies():
    """What the definition copies: (source, place in the container)."""
    return [tuple(line.strip().rsplit(maxsplit=1)) for line in read_sections()["files"].strip().splitlines()]


def list_faults(path):
    """What the rules for one case's output say against a file; nothing where it passes."""
    if not path.is_file():
        return ["it is missing"]
    if path.stat().st_size == 0:
        return ["it is empty"]
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return ["NumPy cannot load it without pickle"]
    if not np.issubdtype(array.dtype, np.floating):
        return ["its numbers are no floats"]
    faults = [] if array.squeeze().ndim == 1 else ["it is no vector, even without axes of length 1"]
    return faults + ([] if np.isfinite(array).all() else ["a number is not finite"])


BAD = {
    "it is missing": lambda path: None,
    "it is empty": lambda path: path.touch(),
    "NumPy cannot load it without pickle": lambda path: np.save(path, np.array([None, 1])),
    "its numbers are no floats": lambda path: np.save(path, np.ones(8, np.int32)),
    "it is no vector, even without axes of length 1": lambda path: np.save(path, np.ones((2, 8))),
    "a number is not finite": lambda path: np.save(path, np.array([1.0, np.nan])),
}


@pytest.mark.parametrize("fault", BAD)
def test_the_rules_refuse_what_the_challenge_refuses(tmp_path, fault):
    BAD[fault](tmp_path / "x.npy")
    assert list_faults(tmp_path / "x.npy") == [fault]


def test_the_definition_copies_what_its_commands_need(tmp_path):
    sections, copies = read_sections(), list_copies()
    assert re.search(r"^Bootstrap: docker\n", sections["header"], re.MULTILINE)
    images = {
        re.search(r"^From: .*", path.read_text(), re.MULTILINE)[0]
        for path in (DEFINITION, ROOT / "apptainer.def")
    }
    assert len(images) == 1, "both containers start from one image"
    assert [source for source, _ in copies if not (ROOT / source).exists()] == ["{{ model }}"]
    assert "model=" in sections["arguments"]
    for name in ("post", "environment", "runscript"):
        subprocess.run(["sh", "-n", "-c", sections[name]], check=True)
    setup = "/opt/braing3n/"
    for source, place in copies:
        if place.startswith(setup) and (ROOT / source).is_file():
            shutil.copy(ROOT / source, tmp_path / place.removeprefix(setup))
    planned = subprocess.run(
        ["make", "-n", "setup"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "install --require-hashes" in planned.stdout
    described = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert (tmp_path / described["readme"]).is_file()


@pytest.fixture(scope="module")
def image(made, fetch_resource, tmp_path_factory):
    """The container's files in a folder, made by the definition's own lines.

    apt-get and make stand in for themselves: the packages are those of this Python. Every absolute path lies
    below the folder.
    """
    root, sections = tmp_path_factory.mktemp("image"), read_sections()
    model = tmp_path_factory.mktemp("model") / "export"
    shutil.copytree(made[0], model)
    config = json.loads((model / "config.json").read_text())
    quick = {"spacing_mm": 4.0, "brain_extraction": "deepbet", "n_deepbet_networks": 1}
    config["preprocess"] |= quick | {"n4_spacing_mm": 18.0, "n4_iterations": [20, 20]}
    (model / "config.json").write_text(json.dumps(config))
    for source, place in list_copies():
        source, target = ROOT / source.replace("{{ model }}", str(model)), root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (root / "app" / "resources").mkdir()
    shutil.copy(fetch_resource("sri24"), root / "app" / "resources")  # which the build would fetch
    (root / "stubs").mkdir()
    python = f"#!/bin/sh\\nexec {sys.executable}"
    stubs = {
        "apt-get": "exit 0",
        "make": f"mkdir -p .venv/bin\nprintf '{python} \"$@\"' > .venv/bin/python\n",
    }
    stubs["make"] += f"printf '{python} -m braing3n \"$@\"' > .venv/bin/braing3n\nchmod +x .venv/bin/*"
    for name, text in stubs.items():
        (root / "stubs" / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / "stubs" / name).chmod(0o755)
    found = {name: re.sub(r"(?<=[\s\"])/(?=\w)", f"{root}/", text) for name, text in sections.items()}
    path = f"{root / 'stubs'}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": f"{root}/opt/braing3n"}
    subprocess.run(["sh", "-ec", found["post"]], env=environment, check=True, timeout=LIMIT_S)
    assert list((root / "app" / "resources").rglob("*.nii")), "unpacked, for nothing can be later"
    return root, found["environment"]


@pytest.fixture(scope="module")
def start(image, tmp_path_factory):
    """A function: words -> the ended process of one case, in the container, without a network."""
    root, setting = image
    guard = tmp_path_factory.mktemp("guard")
    (guard / "sitecustomize.py").write_text(GUARD)

    def start(input_dir, scratch, *words, program="app/predict.py"):
        scratch.mkdir(exist_ok=True)
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
        environment |= {"PYTHONPATH": f"{guard}:{root}/opt/braing3n", "TMPDIR": str(scratch), "HOME": "/proc"}
        environment |= {"LOCKED": f"{root}{os.pathsep}{input_dir}", "OMP_NUM_THREADS": "1"}
        line = f'{setting}\nexec python {program if program == "-c" else root / program} "$@"'
        return subprocess.run(
            ["sh", "-ec", line, "sh", *map(str, words)],
            cwd=scratch, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def heads(fetch_resource):
    """A function: path, contrast and how the scanner stores it -> the file of one phantom head."""
    world = load_world(fetch_resource("brain-templates"), fetch_resource("head-template"))
    person = draw_people(20, 7)[0]

    def write(path, modality="T1", spacing_mm=(3.0, 3.0, 3.0), axes="RAS", tilt_degrees=0.0, n_slices=None):
        image, affine, _ = scan_head(world, person, 0, modality, 3.0)
        if spacing_mm != (3.0, 3.0, 3.0):
            resampled = resample_to_output(nib.Nifti1Image(image, affine), spacing_mm, order=1)
            image, affine = np.asarray(resampled.dataobj), resampled.affine
        turn, angle = np.eye(4), np.deg2rad(tilt_degrees)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, image[:, :, :n_slices], turn @ affine, axes)
        return path

    return write


# Case -> its file's name and how its head is scanned. The first two are the challenge's own.
CASES = {
    "case_001": ("t2w.nii.gz", {"modality": "T2"}),
    "case_002": ("t1w.nii.gz", {}),
    "thick": (
        "dwi.nii.gz",
        {"modality": "T2", "spacing_mm": (2.3, 2.3, 5.1), "axes": "LPS", "tilt_degrees": 9},
    ),
    "plain": ("sub-strokecase0003_ses-0001_FLAIR.nii", {"modality": "FLAIR", "axes": "PIR"}),
}


@pytest.fixture(scope="module")
def cases(start, heads, tmp_path_factory):
    """Case -> the ended process, its input and its output; one after the other in one scratch folder."""
    folder, found = tmp_path_factory.mktemp("cases"), {}
    for name, (file_name, how) in CASES.items():
        scan, vector = folder / name / "input" / file_name, folder / name / "output" / f"{name}.npy"
        heads(scan, **how)
        vector.parent.mkdir()
        before = scan.read_bytes()
        done = start(scan.parent, folder / "tmp", "--input", scan, "--output", vector)
        assert (list(scan.parent.iterdir()), scan.read_bytes()) == ([scan], before)
        found[name] = SimpleNamespace(done=done, scan=scan, vector=vector, scratch=folder / "tmp")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_case_passes_every_rule(cases, name):
    case = cases[name]
    assert case.done.returncode == 0, case.done.stdout + case.done.stderr
    assert list_faults(case.vector) == []
    assert list(case.vector.parent.iterdir()) == [case.vector], "nothing else is left"
    assert list(case.scratch.iterdir()) == [], "heads lie in the scratch folder for a while only"
    assert "Traceback" not in case.done.stderr


@pytest.mark.slow
def test_all_vectors_have_one_length_and_differ_by_head(cases):
    vectors = [np.load(case.vector) for case in cases.values()]
    assert {vector.shape for vector in vectors} == {(24,)}
    first, second = vectors[:2]
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.slow
def test_the_name_of_an_unknown_contrast_is_a_warning(cases):
    assert "dwi.nii.gz: its name gives none of T1, T1c, T2, FLAIR" in cases["thick"].done.stderr
    assert "its name gives none" not in cases["case_002"].done.stderr


@pytest.mark.slow
def test_the_vector_is_what_encode_writes_whatever_the_contrast_is_called(cases, image, tmp_path):
    app = image[0] / "app"
    words = ["--model", str(app / "model"), "--resources", str(app / "resources"), "--modality", "FLAIR"]
    assert main(["encode", str(cases["case_002"].scan), "-o", str(tmp_path / "out"), *words]) == 0
    row = pd.read_parquet(tmp_path / "out" / "features.parquet").filter(regex=r"^f\d+$").iloc[0]
    np.testing.assert_allclose(np.load(cases["case_002"].vector), row.to_numpy(np.float32), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "truncated", "missing"])
def test_a_scan_that_cannot_be_encoded_fails_with_its_reason_and_no_vector(start, heads, tmp_path, kind):
    scan, vector = tmp_path / "input" / "t1w.nii.gz", tmp_path / "output" / "case.npy"
    heads(scan, n_slices=28 if kind == "cut" else None)
    reason = "t1w.nii.gz: "
    if kind == "truncated":
        scan.write_bytes(scan.read_bytes()[:-2000])
        reason = "truncated"
    elif kind == "missing":
        scan.unlink()
        reason = "there is no such file"
    done = start(scan.parent, tmp_path / "tmp", "--input", scan, "--output", vector)
    assert done.returncode == 2
    assert not vector.parent.exists() or list(vector.parent.iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert done.stderr.startswith("braing3n: ")
    assert reason in done.stderr[:N_SHOWN]
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_the_guard_refuses_what_the_container_refuses(start, image, tmp_path):
    """Else the cases above would show nothing about writes and the network."""
    (tmp_path / "input").mkdir()
    lines = (
        f"open({str(tmp_path / 'input' / 'x')!r}, 'w')",
        f"open({str(image[0] / 'app' / 'x')!r}, 'w')",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1')",
    )
    for line in lines:
        done = start(tmp_path / "input", tmp_path / "tmp", line, program="-c")
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr or "there is no network" in done.stderr


def test_options_pass_through_and_warnings_are_printed(tmp_path, monkeypatch, capsys):
    (tmp_path / "swi.nii.gz").touch()
    seen, opened, given = SimpleNamespace(features=np.array([1.0, 2.0])), [], []

    def open_model(*words):
        opened.append(words)
        return SimpleNamespace(preprocess=None)

    def open_scans(scans, *_):
        given.append(scans)
        return [], ["an edge is cut off"]

    def look(model, scans, command, warnings, used):
        warnings.append("far from the training volumes")
        return iter([seen])

    monkeypatch.setattr("braing3n.apply.trained.command.open_model", open_model)
    monkeypatch.setattr("braing3n.apply.trained.scans.open_scans", open_scans)
    monkeypatch.setattr("braing3n.apply.trained.look.look", look)
    words = [
        "fomo26",
        "--input",
        str(tmp_path / "swi.nii.gz"),
        "--output",
        str(tmp_path / "x.npy"),
        "--model",
        "m",
    ]
    assert main(words) == 0
    capsys.readouterr()
    options = ["--device", "cpu", "--threads", "3", "--resources", str(tmp_path / "atlas")]
    assert main([*words, *options]) == 0
    assert np.load(tmp_path / "x.npy").dtype == np.float32
    assert [(model, *rest) for model, _, *rest in opened] == [("m", "auto", 0), ("m", "cpu", 3)]
    assert given[1].by_modality == {"T1": tmp_path / "swi.nii.gz"}
    assert given[1].resources_dir == tmp_path / "atlas"
    printed = capsys.readouterr().err
    name, *others = printed.splitlines()
    assert name.startswith("warning: swi.nii.gz: its name gives none of T1, ")
    assert others == ["warning: an edge is cut off", "warning: far from the training volumes"]


def test_a_folder_in_the_place_of_the_vector_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "t1.nii.gz").write_bytes(b"x")
    words = ["--input", str(tmp_path / "t1.nii.gz"), "--output", str(tmp_path), "--model", "none"]
    assert main(["fomo26", *words]) == 2
    assert f"{tmp_path}: is a folder; give the file to write as --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "modality", "is_warned"),
    [("t1w.nii.gz", "T1", False), ("sub-1_ce-gd_T1w.nii", "T1c", False), ("FLAIR.nii.gz", "FLAIR", False)]
    + [(name, "T1", True) for name in ("swi.nii.gz", "adc.nii.gz", "dwi.nii", "image.nii.gz")],
)
def test_a_name_gives_the_contrast_or_a_warning(name, modality, is_warned):
    found, warnings = fomo26.choose_modality(Path("/input") / name)
    assert (found, len(warnings)) == (modality, int(is_warned))


def test_resources_of_a_model_that_are_missing_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BrainG3nError, match="is no model folder"):
        fetch(model=tmp_path)
