"""Every kind of bad input is a row with its reason, and takes nothing else with it."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from braing3n.config import ResourceSettings
from braing3n.core.errors import ScanError
from braing3n.phantoms.formats import PLANTED, write_dicom
from braing3n.preprocess.read.formats import load_image
from braing3n.preprocess.read.slices import find_gaps
from braing3n.preprocess.shard import preprocess_shard

from .brains import SEMI_AXES_MM, centred_affine, make_row, rotate, sample
from .test_shard import write_inventory

SHAPE = (36, 42, 34)
AFFINE = centred_affine(SHAPE, 5.0)
BRAIN = sample(AFFINE, SHAPE)
INDEX = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
POINTS = INDEX @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def save(path, data=BRAIN, affine=AFFINE, **forms):
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    if forms:
        image.header.set_qform(forms["qform"], code=1)
        image.header.set_sform(affine, code=1)
    nib.save(image, path)


def harm(content):
    """Save a brain, then change its bytes."""
    return lambda path: (save(path), path.write_bytes(content(path.read_bytes())))


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def fill(value, share=0.001):
    data = BRAIN.copy()
    data.ravel()[: int(share * data.size)] = value
    return lambda path: save(path, data)


def write_series(path, missing=(), **changes):
    files = write_dicom(
        path, changes.pop("names", "{}.dcm"), np.rint(BRAIN).astype(np.int16), AFFINE, **changes
    )
    for number in missing:
        files[number].unlink()


def write_two_series(path):
    write_series(path, names="a{}.dcm")
    write_dicom(path, "b{}.dcm", np.rint(BRAIN[2:]).astype(np.int16), AFFINE, series_number=4)


def link_to_itself(path):
    path.symlink_to(path.name)


def paint_ball(path):
    """A bottle of water: a brain's size and outline, one grey."""
    inside = ((POINTS / SEMI_AXES_MM) ** 2).sum(axis=-1) < 1
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    save(path, np.where(inside, 300 + noise, 0).astype(np.float32))


def paint_something_else(path):
    """A brain's outline, and inside it bones and vessels instead of a brain."""
    x, y, z = np.moveaxis(POINTS, -1, 0)
    inside = (((POINTS / SEMI_AXES_MM) ** 2).sum(axis=-1) < 1) * 1.0
    bones = 120 + 90 * np.sign(np.sin(x / 6) * np.sin(y / 7 + z / 9)) + 20 * np.sin(z / 3)
    save(path, (inside * bones).astype(np.float32))


# name of the file or folder -> how it is made, and what the reason says
BAD = {
    "cut.nii.gz": (harm(lambda content: content[:-2000]), "truncated"),
    "tail.nii.gz": (
        harm(lambda content: content[:-4]),
        "truncated",
    ),  # all voxels are there, the checksum is not
    "flipped.nii.gz": (harm(flip_a_bit), "damaged"),
    "plain.nii.gz": (harm(gzip.decompress), "not compressed"),
    "text.nii.gz": (lambda path: path.write_bytes(gzip.compress(b"text")), "cannot be read as an image"),
    "short.nii": (harm(lambda content: content[:-1000]), "cannot be read as an image"),
    "none.nii": (lambda path: path.write_bytes(b""), "0 bytes"),
    "gone.nii": (lambda path: None, "missing"),
    "folder.nii": (lambda path: path.mkdir(), "is a folder"),
    "loop.nii": (link_to_itself, "leads to no file"),
    "nan.nii": (fill(np.nan), "51 of 51408 voxels are not finite"),
    "infinite.nii": (fill(np.inf), "51 of 51408 voxels are not finite"),
    "zero.nii": (lambda path: save(path, np.zeros_like(BRAIN)), "every voxel is 0"),
    "4d.nii": (lambda path: save(path, np.stack([BRAIN, BRAIN], axis=-1)), "4-D (36 x 42 x 34 x 2)"),
    "slab.nii": (lambda path: save(path, BRAIN[:, :, 16:18]), "only 2 slices"),
    "complex.nii": (lambda path: save(path, BRAIN.astype(np.complex64)), "complex64"),
    "large.nii": (lambda path: save(path, BRAIN.astype(np.float64) * 1e38), "32-bit"),
    "alike.nii": (lambda path: save(path, np.rint(BRAIN).astype(np.int64) + 10**12), "32-bit"),
    "sheared.nii": (lambda path: save(path, affine=AFFINE + 2 * np.eye(4, k=1)), "shears"),
    "flat.nii": (harm(lambda content: content[:280] + bytes(48) + content[328:]), "no usable voxel size"),
    "mirrored.nii": (
        lambda path: save(path, qform=np.diag([-1.0, 1, 1, 1]) @ AFFINE),
        "disagree about left and right",
    ),
    "sizes.nii": (
        lambda path: save(path, qform=np.diag([0.8, 1, 1, 1]) @ AFFINE),
        "disagree about the voxel size (5 x 5 x 5 and 4 x 5 x 5 mm)",
    ),
    "turned.nii": (
        lambda path: save(path, qform=rotate(180, axis=0) @ AFFINE),
        "position by 180 degrees",
    ),
    "series": (
        lambda path: write_series(path, missing=(7, 8, 20)),
        "3 of 36 slices are missing (between images 7 and 10, between images 20 and 22)",
    ),
    "frames": (write_two_series, "holds 2 series"),
    "noise.nii": (
        lambda path: save(path, np.random.default_rng(0).normal(100, 20, SHAPE).astype(np.float32)),
        "believable are",
    ),
    "ball.nii": (paint_ball, "shows no brain"),
    "knee.nii": (paint_something_else, "shows no brain"),
    "half.nii": (lambda path: save(path, BRAIN[:, :, :19]), "of the brain"),
}
GOOD = {
    "good.nii.gz": save,
    "double.nii": lambda path: save(path, BRAIN.astype(np.float64)),
    "long.nii": lambda path: save(path, np.rint(BRAIN).astype(np.int64)),
    "tilted.nii": lambda path: save(path, qform=rotate(20, shift=(30, 0, 0)) @ AFFINE),
    "whole series": write_series,
}


SERIES = ("series", "frames", "whole series")


def name_subject(file_name):
    return file_name.replace(".", " ")


def make_rows(folder, names):
    return [
        make_row(folder / name, name_subject(name), source_format="DICOM" if name in SERIES else "NIfTI")
        for name in names
    ]


def test_bad_input_is_a_row_with_its_reason_and_nothing_else_is_lost(tmp_path, atlas_path, settings, capfd):
    folder = tmp_path / "raw data"
    folder.mkdir()
    for name, make in [*GOOD.items(), *((name, bad[0]) for name, bad in BAD.items())]:
        make(folder / name)
    inventory = write_inventory(tmp_path / "shard-000.tsv", make_rows(folder, [*BAD, *GOOD]))
    table = preprocess_shard(
        inventory,
        tmp_path / "store",
        tmp_path / "table.parquet",
        settings.model_copy(update={"max_failure_rate": 1.0}),
        ResourceSettings(paths={"sri24": str(atlas_path)}),
        n_workers=2,
    ).set_index("subject_id")
    assert len(table) == len(BAD) + len(GOOD)
    for name in GOOD:
        row = table.loc[name_subject(name)]
        assert (row["status"], row["reason"]) == ("kept", ""), (name, row["reason"])
    wrong = {}
    for name, (_, words) in BAD.items():
        row = table.loc[name_subject(name)]
        reason, is_excluded = row["reason"], row["status"] == "excluded"
        if not (is_excluded and reason.startswith(f"{name}: ") and words in reason and reason.endswith(".")):
            wrong[name] = reason
    assert wrong == {}
    assert len(list((tmp_path / "store").rglob("*desc-preproc_T1w.nii.gz"))) == len(GOOD)
    written = " ".join([*table["reason"], *capfd.readouterr()])
    assert [text for text in PLANTED if text in written] == []
    one, other = (nib.load(table.loc[name_subject(name), "path"]) for name in ("good.nii.gz", "double.nii"))
    np.testing.assert_array_equal(one.dataobj, other.dataobj)


def test_what_may_not_be_read_says_so(tmp_path):
    save(tmp_path / "secret.nii")
    (tmp_path / "secret.nii").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)  # root may read all, so be somebody else for a moment
    try:
        with pytest.raises(ScanError, match=r"secret.nii: may not be read"):
            load_image(tmp_path / "secret.nii")
    finally:
        if is_root:
            os.seteuid(0)


def test_gaps_are_counted_and_small_unevenness_is_none():
    heights = [3.0 * k for k in range(20)]
    numbers = list(range(1, 21))
    assert find_gaps(heights, numbers) == ([], 20)
    assert find_gaps(heights[::-1] * 2, numbers * 2) == ([], 20)  # two echoes, in any order
    jittered = [height + 0.4 * (k % 3) for k, height in enumerate(heights)]
    assert find_gaps(jittered, numbers) == ([], 20)
    chosen = [k for k in range(20) if k not in (5, 6, 12)]
    gaps, n_there = find_gaps([heights[k] for k in chosen], [numbers[k] for k in chosen])
    assert gaps == [(2, 5, 8), (1, 12, 14)]
    assert n_there == 17


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "a.nii.gz",
            b"../../.git/annex/objects/a/b/MD5E-s1--c.nii.gz",
            "is a pointer of git-annex or Git LFS",
        ),
        ("a.nii", b"/annex/objects/MD5E-s1--c.nii\n", "is a pointer of git-annex or Git LFS"),
        ("a.nii", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of git-annex"),
        ("a.nii", gzip.compress(b"scan", mtime=0), "is compressed, but its name does not end in .gz"),
    ],
)
def test_a_file_in_place_of_the_image_is_named(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScanError) as error:
        load_image(tmp_path / name)
    assert str(error.value).startswith(f"{name}: {reason}")
