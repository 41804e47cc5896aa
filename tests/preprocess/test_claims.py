"""Headers that claim what no head and no such file can be: refused before a voxel is read."""

import gzip
import os
import resource

import nibabel as nib
import numpy as np
import pytest

from braing3n.core.errors import ScanError
from braing3n.phantoms.formats import write_dicom
from braing3n.preprocess.read import formats
from braing3n.preprocess.read.formats import digest_scan
from braing3n.preprocess.read.scan import read_scan
from braing3n.preprocess.shard import run_visit

from .brains import centred_affine, make_row, sample

SHAPE = (36, 42, 34)
AFFINE = centred_affine(SHAPE, 5.0)
BRAIN = sample(AFFINE, SHAPE)


def write(path, shape=SHAPE, spacing_mm=5.0, data=BRAIN, n_more=0):
    """A NIfTI whose header claims `shape` and `spacing_mm`, whatever stands behind it."""
    image = nib.Nifti1Image(data.astype(np.int16), np.diag([spacing_mm] * 3 + [1.0]))
    header = image.header.copy()
    header.set_data_shape(SHAPE)
    content = image.to_bytes() + bytes(n_more)
    changed = bytearray(content)
    changed[40:56] = np.array([len(shape), *shape, *[1] * 7][:8], np.int16).tobytes()
    content = bytes(changed)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def small_memory():
    """At most 3 GB of address space more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (30000, 30000, 30000)}, "claims 30000 x 30000 x 30000 voxels"),
        ({"shape": (64, 64, 40, 3000)}, "4-D (64 x 64 x 40 x 3000), expected one 3-D volume"),
    ],
)
def test_a_claim_that_no_head_fits_is_refused(tmp_path, small_memory, name, options, words):
    with pytest.raises(ScanError) as caught:
        read_scan(write(tmp_path / name, **options))
    assert words in str(caught.value)


def test_a_file_that_is_longer_than_its_header_says(tmp_path):
    with pytest.raises(ScanError, match="is 300000 bytes longer than its header says"):
        read_scan(write(tmp_path / "scan.nii", n_more=300_000))
    with pytest.raises(ScanError, match="is 300000 bytes longer than its header says"):
        read_scan(write(tmp_path / "scan.nii.gz", n_more=300_000))
    for name in ("scan.nii", "scan.nii.gz"):
        assert read_scan(write(tmp_path / name, n_more=100)).data.shape == SHAPE


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("braing3n.preprocess.read.formats.MAX_RAW_BYTES", 10**7)
    with pytest.raises(ScanError, match="unpacks to more than any head"):
        read_scan(write(tmp_path / "scan.nii.gz", n_more=3 * 10**7))


def test_a_pipe_and_a_device_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    for name in ("pipe.nii.gz", "zero.nii"):
        with pytest.raises(ScanError, match="is a pipe or a device"):
            read_scan(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            digest_scan(tmp_path / name)


@pytest.mark.parametrize(
    ("spacing_mm", "words"),
    [
        (18.3, "shows 768.6 mm, more than any head"),
        (45.0, "shows 1890 mm, more than any head"),
        (0.005, "shows 0.21 mm, less than any head"),
    ],
)
def test_a_field_of_view_that_no_head_fits_is_excluded_before_any_work(tmp_path, job, spacing_mm, words):
    path = write(tmp_path / "scan.nii.gz", spacing_mm=spacing_mm)
    (row,) = run_visit([make_row(str(path), "01", is_stripped=1)], job)
    assert row["status"] == "excluded"
    assert words in row["reason"]
    assert row["steps"] == ""


def test_a_subject_whose_files_would_have_names_too_long_is_excluded_before_any_work(tmp_path, job):
    (row,) = run_visit([make_row(str(write(tmp_path / "scan.nii.gz")), 230 * "x")], job)
    assert row["status"] == "excluded"
    assert "makes names too long" in row["reason"]
    assert row["steps"] == ""


def test_a_series_over_which_dcm2niix_hangs_is_given_up(tmp_path, monkeypatch):
    program = tmp_path / "dcm2niix"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(formats, "_find_dcm2niix", lambda: str(program))
    monkeypatch.setattr(formats, "DCM2NIIX_LIMIT_S", 1)
    write_dicom(tmp_path / "I1", "{}.dcm", np.round(BRAIN).astype(np.int16), AFFINE)
    with pytest.raises(ScanError, match=r"I1: dcm2niix did not finish in .*download it again"):
        read_scan(tmp_path / "I1", "DICOM")
