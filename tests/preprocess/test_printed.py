"""What the command says and leaves of names and headers, and who may read what it leaves."""

import gzip
import os
import re

import numpy as np
import pandas as pd
import pydicom
import pytest

from braing3n.phantoms.formats import write_dicom

from .brains import centred_affine, sample, write_brain
from .test_command import write_series

READY = ("--stripped", "--bias-corrected")
SHAPE = (36, 42, 34)


@pytest.fixture
def umask():
    """The umask of most machines, which a configuration may change; restored after the test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def write_study(folder, description):
    """One series of a T1 whose description, scanner and day can be searched for."""
    affine = centred_affine(SHAPE, 5.0)
    image = np.round(sample(affine, SHAPE)).astype(np.int16)
    facts = {"date": "2011-03-14", "model": "QX7-SCANNER"}
    for path in write_dicom(folder, "{:03d}", image, affine, description="t1", **facts):
        header = pydicom.dcmread(path)
        header.SeriesDescription = description
        header.ImageType = ["ORIGINAL", "PRIMARY", "M", "QX7TYPE"]
        header.save_as(path)


def test_of_a_series_the_contrast_alone_is_passed_on(tmp_path, type_in):
    """Neither its description, the scanner's model, the image type nor the day is in any result."""
    write_study(tmp_path / "study", "t1_mprage_QX7")
    status, printed = type_in("study", "-o", "out", *READY)
    assert status == 0, printed
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name.rsplit(".", 1)[-1] for path in written} >= {"gz", "json", "tsv", "mat", "png"}
    for path in written:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        found = [text for text in (b"QX7", b"mprage", b"2011-03", b"201103") if text in content]
        assert not found, path


@pytest.mark.parametrize("name", ["DOE^JANE", "Müller", "Smith_John 19450312", "\x1b[2J", "MRN0012345"])
def test_of_a_description_the_words_of_protocols_alone_are_printed(tmp_path, type_in, name):
    write_study(tmp_path / "study", f"{name} t1_mprage SAG")
    status, printed = type_in("study", "-o", "out", *READY)
    assert status == 0, printed
    assert "'… t1_mprage SAG'" in printed
    for word in filter(None, re.split(r"[^\w]+|_", name)):
        assert word not in printed.replace("sub-01", "")


def test_a_series_without_a_description_says_so(tmp_path, type_in):
    write_study(tmp_path / "study", "")
    _, printed = type_in("study", "-o", "out", *READY)
    assert "'no description'" in printed


def test_names_with_control_characters_are_spelled_out(tmp_path, type_in):
    write_brain(tmp_path / "\x1b[2Jt1.nii.gz")
    status, printed = type_in("\x1b[2Jno.nii.gz", "-o", "out", *READY)
    assert status == 2
    assert r"\x1b[2Jno.nii.gz: there is no such file" in printed
    status, last = type_in("\x1b[2Jt1.nii.gz", "-o", "other", *READY)
    assert status == 0, last
    assert r"\x1b[2Jt1.nii.gz" in last
    assert not [sign for sign in printed + last if sign in "\x07\x1b"]


@pytest.mark.parametrize(("permissions", "file_mode", "dir_mode"), [("private", 0o600, 0o700)])
def test_results_can_be_kept_from_others(tmp_path, type_in, umask, permissions, file_mode, dir_mode):
    write_brain(tmp_path / "t1.nii.gz")
    config = tmp_path / "small.yaml"
    config.write_text(config.read_text().replace("{", f'{{"permissions": "{permissions}", ', 1))
    status, printed = type_in("t1.nii.gz", "-o", "out", *READY)
    assert status == 0, printed
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (dir_mode if path.is_dir() else file_mode), path


def test_two_studies_are_two_visits_and_a_second_t1_is_left_out(tmp_path, type_in):
    write_series(tmp_path / "d" / "a", "T1", "MPRAGE", 2)
    write_series(tmp_path / "d" / "b", "T1", "MPRAGE repeat", 3)
    write_series(tmp_path / "d" / "c", "T1", "MPRAGE", 2, StudyInstanceUID="2.25.8", StudyDate="20200101")
    status, printed = type_in("d", "-o", "out", *READY)
    assert status == 0, printed
    kept = pd.read_csv(tmp_path / "out" / "preprocess.tsv", sep="\t", dtype=str)
    assert kept["session_id"].tolist() == ["1", "2"]
    assert "left out: series 3 'MPRAGE repeat': a second T1 of sub-01; series 2 'MPRAGE' is taken" in printed
    assert "visits of one person" in printed
