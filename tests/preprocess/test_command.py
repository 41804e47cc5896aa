"""One person's scans without the DAG: what is typed, printed and left, and the same bytes as the DAG's."""

import itertools
import json
import re
import shutil
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from braing3n.apply.gather import Facts
from braing3n.apply.preprocess import Request, answer
from braing3n.phantoms.formats import PLANTED, write_dicom

from .brains import ATLAS_CENTRE, centred_affine, make_row, rotate, sample, write_brain

READY = ("--stripped", "--bias-corrected")
IN_SRI24 = (*READY, "--space", "sri24")
SHAPE, SPACING_MM = (36, 42, 34), 5.0


def write_in_sri24(path, turn=0):
    """Write a stripped brain that lies in SRI24 already, so that nothing is registered."""
    affine, centre = centred_affine(SHAPE, SPACING_MM), np.eye(4)
    affine[:3, 3] += ATLAS_CENTRE
    centre[:3, 3] = -ATLAS_CENTRE
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(sample(affine, SHAPE, rotate(turn) @ centre), affine), path)


def read_numbers(folder):
    table = pd.read_csv(folder / "preprocess.tsv", sep="\t", dtype=str, keep_default_na=False)
    return table.set_index("modality")


def read_bytes(folder):
    files = sorted(path for path in folder.rglob("sub-*/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_series(folder, modality, description, number, **changes):
    """A DICOM series of one study; all series of the tests are of one study unless printed otherwise."""
    affine = centred_affine(SHAPE, SPACING_MM)
    image = np.round(sample(affine, SHAPE, modality=modality)).astype(np.int16)
    paths = write_dicom(
        folder, f"{number}-{{:03d}}", image, affine, description=description, series_number=number
    )
    for path in paths:
        header = pydicom.dcmread(path)
        header.StudyInstanceUID = "2.25.7"
        for name, value in changes.items():
            setattr(header, name, value)
        header.save_as(path)
    return paths


def test_one_scan_gives_volume_mask_both_transforms_numbers_and_a_picture(tmp_path, type_in):
    write_brain(tmp_path / "scan.nii.gz", to_brain=rotate(5, scale=1.1))
    status, printed = type_in("scan.nii.gz", "-o", "out/", *READY, has_workers=True)
    assert status == 0, printed
    numbers = read_numbers(tmp_path / "out").loc["T1"]
    assert nib.load(numbers["path"]).shape == nib.load(numbers["mask_path"]).shape == (60, 60, 39)
    names = {path.name for path in (tmp_path / "out" / "sub-01" / "anat").iterdir()}
    for kind in ("from-T1w_to-SRI24", "from-SRI24_to-T1w"):
        assert f"sub-01_{kind}_mode-image_xfm.mat" in names
        assert f"out/sub-01/anat/sub-01_{kind}_mode-image_xfm.mat" in printed
    assert (tmp_path / "out" / "preprocess.png").read_bytes()[:4] == b"\x89PNG"
    assert float(numbers["affine_determinant"]) == pytest.approx(1.1**3, rel=0.06)
    assert f"{float(numbers['native_brain_ml']):.0f} ml native" in printed
    sri24_ml = float(numbers["native_brain_ml"]) * float(numbers["affine_determinant"])
    voxels_ml = (np.asarray(nib.load(numbers["mask_path"]).dataobj) > 0).sum() * 4.0**3 / 1000
    assert f"= {sri24_ml:.0f} ml in SRI24" in printed
    assert sri24_ml == pytest.approx(voxels_ml, rel=0.03)
    assert " 0.0% of the brain lies outside the models'" in printed
    assert f"noise {float(numbers['noise']):.1%} of the brain's median" in printed
    assert "taken as T1" in printed  # the name says nothing, and the user is printed so
    assert "sub-01 T1: affine registration to SRI24" in printed  # the progress
    assert "skipped      bias correction (declared as done), brain extraction (the nonzero" in printed
    assert "1 of 1 volumes kept" in printed


def test_the_bytes_are_those_of_the_shard_command(tmp_path, type_in, atlas_path, settings):
    raw = [
        write_brain(tmp_path / "p7_t1.nii.gz"),
        write_brain(tmp_path / "p7_flair.nii.gz", modality="FLAIR"),
    ]
    labels = write_brain(tmp_path / "seg.nii.gz")
    image = nib.load(labels)
    nib.save(nib.Nifti1Image((image.get_fdata() > 150).astype(np.uint8), image.affine), labels)
    words = ("p7_t1.nii.gz", "p7_flair.nii.gz", "--labels", "seg.nii.gz", "--stripped", "-o", "mine")
    status, printed = type_in(*words, has_workers=True)
    assert status == 0, printed
    rows = [make_row(raw[0], "p7", is_bias_corrected=0, segmentations=json.dumps({"seg": labels}))]
    rows.append(make_row(raw[1], "p7", "FLAIR", is_bias_corrected=0))
    pd.DataFrame(rows).to_csv(tmp_path / "shard-000.tsv", sep="\t", index=False)
    words = ["--inventory", "shard-000.tsv", "--store", "store", "--table", "table.parquet"]
    words += ["--settings", settings.as_json()]
    words += ["--resources", json.dumps({"paths": {"sri24": str(atlas_path)}})]
    assert type_in("shard", *words, config="", has_workers=True)[0] == 0
    mine, dag = read_bytes(tmp_path / "mine"), read_bytes(tmp_path / "store" / "invented")
    assert mine == dag
    assert len(mine) == 11  # two volumes and pictures, a mask, four transforms, a segmentation, the sidecar


def test_contrasts_are_known_by_names_or_by_options(tmp_path, type_in):
    for name, modality in {"a.nii.gz": "T1", "b.nii.gz": "T2", "x_T1_post.nii.gz": "T1"}.items():
        write_brain(tmp_path / name, modality=modality)
    status, printed = type_in("x_T1_post.nii.gz", "--t1", "a.nii.gz", "--t2", "b.nii.gz", "-o", "out", *READY)
    assert status == 0, printed
    numbers = read_numbers(tmp_path / "out")
    assert list(numbers.index) == ["T1", "T1c", "T2"]
    assert set(numbers["subject_id"]) == {"x"}
    assert numbers.loc["T2", "steps"] == "rigid:T1;mask:T1;affine"
    status, printed = type_in("a.nii.gz", "b.nii.gz", "-o", "other", *READY)
    assert status == 2
    assert "a.nii.gz: its name gives none of T1, T1c, T2 and FLAIR; say which, with --t1" in printed
    assert not (tmp_path / "other").exists()


def test_labels_arrive_where_they_were_delineated(tmp_path, type_in):
    path = write_brain(tmp_path / "t1.nii.gz", to_brain=rotate(6))
    image = nib.load(path)
    marker = (image.get_fdata() > 0.8 * image.get_fdata().max()).astype(np.uint8)
    nib.save(nib.Nifti1Image(marker, image.affine), tmp_path / "tumour.nii.gz")
    nib.save(nib.Nifti1Image(marker[:-1], image.affine), tmp_path / "elsewhere.nii.gz")
    words = ("--labels", "tumour.nii.gz", "--labels", "elsewhere.nii.gz")
    status, printed = type_in("t1.nii.gz", *words, "-o", "out", *READY)
    assert status == 0, printed
    numbers = read_numbers(tmp_path / "out").loc["T1"]
    carried = (
        nib.load(tmp_path / "out/sub-01/anat/sub-01_space-SRI24_desc-tumour_dseg.nii.gz").get_fdata() > 0
    )
    volume = nib.load(numbers["path"]).get_fdata()
    assert carried.any()
    assert volume[carried].mean() > 1.3 * volume[(volume > 0) & ~carried].mean()
    assert re.search(r"desc-tumour_dseg.nii.gz \(\d+\.\d ml native, \d+% of it carried\)", printed)
    assert "elsewhere: NOT carried: elsewhere.nii.gz: lies on no grid of its visit's kept scans" in printed


def test_a_folder_is_people_and_visits(tmp_path, type_in):
    bids, loose = tmp_path / "bids", tmp_path / "loose"
    write_in_sri24(bids / "sub-1" / "ses-a" / "anat" / "sub-1_ses-a_space-SRI24_desc-brain_T1w.nii.gz")
    write_in_sri24(
        bids / "sub-1" / "ses-b" / "anat" / "sub-1_ses-b_space-SRI24_desc-brain_T1w.nii.gz", turn=3
    )
    write_in_sri24(bids / "sub-1" / "ses-b" / "anat" / "sub-1_ses-b_bold.nii.gz")
    status, printed = type_in("bids", "-o", "out", "--bias-corrected")
    assert status == 0, printed
    kept = pd.read_csv(tmp_path / "out" / "preprocess.tsv", sep="\t", dtype=str)
    assert kept["volume_id"].tolist() == ["out_sub-1_ses-a_T1", "out_sub-1_ses-b_T1"]
    assert "sub-1_ses-b_bold.nii.gz: suffix 'bold'" in printed
    write_in_sri24(loose / "anna" / "t1.nii.gz")
    write_in_sri24(loose / "bert" / "t1.nii.gz", turn=3)
    write_in_sri24(loose / "bert" / "lesion_mask.nii.gz")
    status, printed = type_in("loose", "-o", "out", *IN_SRI24)
    assert "left out: lesion_mask.nii.gz: a segmentation or mask" in printed
    kept = pd.read_csv(tmp_path / "out" / "preprocess.tsv", sep="\t", dtype=str)
    assert kept["subject_id"].tolist() == ["1", "1", "anna", "bert"]  # those of the first run stay


@pytest.mark.parametrize("is_mixed", [False, True], ids=["a folder a series", "all in one folder"])
def test_a_dicom_study_tells_its_contrasts_and_no_identity(tmp_path, type_in, is_mixed):
    study = tmp_path / "study"
    before = []
    for number, (modality, description, changes) in enumerate(
        [
            ("T1", "localizer", {}),
            ("T1", "t1_mprage_sag", {}),
            ("T2", "t2_tse_tra", {}),
            ("T1", "t1_mprage_sag", {"ContrastBolusAgent": "PLANTED AGENT"}),
            ("T1", "ep2d_diff_ADC", {}),
        ],
        start=1,
    ):
        folder = study if is_mixed else study / f"{number:02d}"
        before += write_series(folder, modality, description, number, **changes)
    (study / "README").write_text("no image")
    content = {path: path.read_bytes() for path in before}
    status, printed = type_in("study", "-o", "out", *READY)
    assert status == 0, printed
    numbers = read_numbers(tmp_path / "out")
    assert list(numbers.index) == ["T1", "T1c", "T2"]
    assert set(numbers["session_id"]) == {""}
    assert set(numbers["status"]) == {"kept"}
    assert "left out: series 1 'localizer': a localiser" in printed
    assert "left out: series 5 'ep2d_diff_ADC': diffusion" in printed
    everything = printed.encode() + b"".join(
        path.name.encode() + path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert [text for text in (*PLANTED, "PLANTED", "2.25.") if text.encode() in everything] == []
    assert {path: path.read_bytes() for path in before} == content
    assert len([path for path in study.rglob("*") if path.is_file()]) == len(before) + 1


def list_corners(shape, affine):
    """Where the eight corners of a grid lie, sorted along each axis (8, 4)."""
    ends = itertools.product(*((0, n - 1) for n in shape))
    return np.sort([affine @ [*end, 1] for end in ends], axis=0)


@pytest.mark.parametrize("is_mixed", [False, True], ids=["a folder a series", "all in one folder"])
def test_a_kept_scan_brings_its_own_grid_also_from_dicom(tmp_path, type_in, is_mixed):
    """What is carried back from SRI24 lies where the scan's own voxels do, in whatever order they come."""
    study = tmp_path / "study"
    write_series(study if is_mixed else study / "1", "T1", "t1_mprage_sag", 1)
    write_series(study if is_mixed else study / "2", "T2", "t2_tse_tra", 2)
    facts, config = Facts(is_stripped=True, is_bias_corrected=True), tmp_path / "small.yaml"
    asked = Request([study], tmp_path / "out", facts=facts, config_path=config, wants_grids=True)
    own = list_corners(SHAPE, centred_affine(SHAPE, SPACING_MM))
    for row in answer(asked):
        assert list_corners(*row["grid"]) == pytest.approx(own, abs=1e-3)


def test_of_an_mp2rage_study_the_uniform_image_of_the_whole_head_is_taken(tmp_path, type_in):
    """INV1, the T1 map, the phase and a slab come first by number or name."""
    study = tmp_path / "study"
    kinds = [
        ("t1_mp2rage_sag_INV1", ["ORIGINAL", "PRIMARY", "M", "ND"]),
        ("t1_mp2rage_sag_T1_Images", ["ORIGINAL", "PRIMARY", "T1 MAP", "ND"]),
        ("t1_mp2rage_sag_UNI_Images", ["ORIGINAL", "PRIMARY", "P", "ND"]),
        ("t1_mprage_hippo", ["ORIGINAL", "PRIMARY", "M", "ND"]),
        ("t1_mp2rage_sag_UNI_Images", ["ORIGINAL", "PRIMARY", "M", "ND", "UNI"]),
    ]
    for number, (description, image_type) in enumerate(kinds, start=1):
        paths = write_series(study / str(number), "T1", description, number, ImageType=image_type)
        for path in paths[9:] if "hippo" in description else ():
            path.unlink()
    status, printed = type_in("study", "-o", "out", *READY)
    assert status == 0, printed
    assert "sub-01: T1 from series 5 't1_mp2rage_sag_UNI_Images'" in printed
    for number, why in ((1, "an inversion image"), (2, "made from another"), (3, "no magnitude image")):
        assert re.search(rf"left out: series {number} .*{why}", printed)
    assert "left out: series 4 't1_mprage_hippo': a second T1 of sub-01" in printed


def test_loose_files_parts_and_slabs_are_left_for_the_whole_head(tmp_path, type_in):
    folder = tmp_path / "data"
    write_in_sri24(folder / "a" / "whole_T1.nii.gz")
    image = nib.load(folder / "a" / "whole_T1.nii.gz")
    nib.save(image.slicer[:, :, 14:24], folder / "a" / "acq-hippo_T1.nii.gz")
    nib.save(image, folder / "a" / "part-imag_T1.nii.gz")
    status, printed = type_in("data", "-o", "out", *IN_SRI24)
    assert status == 0, printed
    assert "sub-a: T1 from whole_T1.nii.gz" in printed
    assert "left out: acq-hippo_T1.nii.gz: a second T1" in printed
    assert "left out: part-imag_T1.nii.gz: no magnitude image" in printed


def test_a_dicom_study_beside_a_nifti_file_is_not_dropped(tmp_path, type_in):
    write_in_sri24(tmp_path / "data" / "flair.nii.gz")
    write_series(tmp_path / "data" / "study", "T1", "t1_mprage", 2)
    status, printed = type_in("data", "-o", "out", *READY)
    assert status == 0, printed
    assert list(read_numbers(tmp_path / "out").index) == ["FLAIR", "T1"]


def test_where_the_first_of_two_series_is_refused_the_next_is_tried(tmp_path, type_in):
    study = tmp_path / "study"
    for path in write_series(study / "a", "T1", "t1_mprage", 2)[10:13]:
        path.unlink()  # slices are missing
    for path in write_series(study / "b", "T1", "t1_mprage repeat", 3)[32:]:
        path.unlink()  # fewer slices, but none between others
    status, printed = type_in("study", "-o", "out", *READY)
    assert status == 0, printed
    assert "slices are missing" in printed
    assert "sub-01 T1 (series 3 't1_mprage repeat'): kept" in printed
    assert read_numbers(tmp_path / "out").loc["T1", "status"] == "kept"


def test_axes_that_the_header_does_not_give_are_given_by_the_user(tmp_path, type_in):
    write_brain(tmp_path / "t1.nii.gz")
    image = nib.load(tmp_path / "t1.nii.gz")
    image.set_sform(image.affine, code=0)
    image.set_qform(image.affine, code=0)
    nib.save(image, tmp_path / "t1.nii.gz")
    status, printed = type_in("t1.nii.gz", "-o", "out", *READY)
    assert status == 1
    assert "t1.nii.gz: its header does not give the orientation" in printed
    assert type_in("t1.nii.gz", "-o", "out", "--axes", "RAS", *READY)[0] == 0
    status, printed = type_in("t1.nii.gz", "-o", "out", "--axes", "RAL", *READY)
    assert (status, "--axes RAL: is no code of three directions" in printed) == (2, True)


def test_a_name_too_long_for_files_is_a_mistake_before_the_work(tmp_path, type_in):
    name = "sub-" + 220 * "x" + "_T1w.nii.gz"
    write_in_sri24(tmp_path / name)
    status, printed = type_in(name, "-o", "out", *IN_SRI24)
    assert status == 2
    assert "makes file names that are too long; give --subject." in printed
    assert type_in(name, "-o", "out", "--subject", "x", *IN_SRI24)[0] == 0


def test_nothing_kept_is_status_1_with_the_reason(tmp_path, type_in):
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 20), np.float32), np.eye(4)), tmp_path / "t1.nii.gz")
    (tmp_path / "t2.nii.gz").write_bytes(b"no image")
    status, printed = type_in("t1.nii.gz", "t2.nii.gz", "-o", "out")
    assert status == 1
    assert "T1 (t1.nii.gz): NOT kept\n  why          t1.nii.gz: every voxel is 0" in printed
    assert "t2.nii.gz: its name ends in .gz, but it is not compressed" in printed
    assert "0 of 2 volumes kept" in printed
    write_in_sri24(tmp_path / "flair.nii.gz")
    assert type_in("t1.nii.gz", "flair.nii.gz", "-o", "other", *IN_SRI24)[0] == 0


def test_done_is_not_done_again_and_other_scans_are_not_written_over(tmp_path, type_in):
    write_in_sri24(tmp_path / "scan.nii.gz")
    assert type_in("scan.nii.gz", "-o", "out", *IN_SRI24)[0] == 0
    before = read_bytes(tmp_path / "out")
    status, printed = type_in("scan.nii.gz", "-o", "out", *IN_SRI24)
    assert (status, read_bytes(tmp_path / "out")) == (0, before)
    assert "done already" in printed
    assert "sub-01 T1: " not in printed  # no step was begun
    (tmp_path / "other").mkdir()
    write_in_sri24(tmp_path / "other" / "scan.nii.gz", turn=4)
    status, printed = type_in("other/scan.nii.gz", "-o", "out", *IN_SRI24)
    assert (status, read_bytes(tmp_path / "out")) == (2, before)
    assert "holds results of other scans or settings as sub-01" in printed
    assert type_in("other/scan.nii.gz", "-o", "out", "--subject", "02", *IN_SRI24)[0] == 0
    assert read_bytes(tmp_path / "out").items() > before.items()
    assert type_in("other/scan.nii.gz", "-o", "out", "--overwrite", *IN_SRI24)[0] == 0
    after = read_bytes(tmp_path / "out")
    name = "sub-01/anat/sub-01_space-SRI24_desc-preproc_T1w.nii.gz"
    assert after[name] == after[name.replace("sub-01", "sub-02")] != before[name]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nofile.nii.gz", "-o", "out"], "nofile.nii.gz: there is no such file or folder."),
        (["notes.txt", "-o", "out"], "notes.txt: is neither NIfTI (.nii, .nii.gz) nor DICOM"),
        (["empty", "-o", "out"], "empty: holds no scan"),
        (
            ["masks", "-o", "out"],
            "holds no scan that can be used (lesion_mask.nii.gz: a segmentation or mask)",
        ),
        (["-o", "out"], "name a scan or a folder"),
        (["t1.nii.gz"], "--out is missing, or has no value"),
        (["t1.nii.gz", "-o", "notes.txt"], "notes.txt: nothing can be written there"),
        (["t1.nii.gz", "-o", "out", "--spacing", "2"], "Did you mean --spacing-mm?"),
        (["t1.nii.gz", "-o", "out", "--striped"], "Did you mean --stripped?"),
        (["t1.nii.gz", "-o", "out", "--space", "nmi"], 'Did you mean "mni"?'),
        (["t1.nii.gz", "-o", "out", "--labels", "no.nii"], "no.nii: there is no such file or folder."),
        (["t1.nii.gz", "mprage.nii.gz", "-o", "out"], "would both be the T1 of sub-01"),
        (["t1.nii.gz", "bo_t1.nii.gz", "--labels", "t1.nii.gz", "-o", "out"], "--labels goes with one visit"),
        (["people", "--subject", "x", "-o", "out"], "--subject names one person, but there are a, b"),
        (["people/a", "--t2", "people/b/sub-b_t2.nii.gz", "-o", "out"], "go with one visit, but there are"),
        (["seg.nii.gz", "-o", "out"], "seg.nii.gz: by its name or description a segmentation or mask"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, type_in, words, sentence):
    for name in ("t1.nii.gz", "mprage.nii.gz", "bo_t1.nii.gz", "seg.nii.gz", "masks/lesion_mask.nii.gz"):
        write_brain(tmp_path / name)
    for name in ("a/sub-a_T1w.nii.gz", "b/sub-b_t2.nii.gz", "b/sub-b_T1w.nii.gz"):
        write_brain(tmp_path / "people" / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    status, printed = type_in(*words)
    assert status == 2
    assert sentence in printed
    assert len(printed.strip().splitlines()) == 1
    assert printed.startswith("braing3n: ")


def test_missing_ants_is_reported_before_anything_is_fetched(tmp_path, type_in, monkeypatch):
    write_brain(tmp_path / "t1.nii.gz")
    monkeypatch.setitem(sys.modules, "ants", None)
    words = ("t1.nii.gz", "-o", "out", "--resources", "here", "--brain-extraction", "none")
    status, printed = type_in(*words, config="")
    assert status == 2
    assert "pip install '.[preprocess]'" in printed
    assert "fetching" not in printed


def test_without_atlas_and_network_the_message_says_how_to_name_a_file(tmp_path, type_in, monkeypatch):
    from braing3n.core import resources

    write_brain(tmp_path / "t1.nii.gz")
    monkeypatch.setattr(
        resources.subprocess, "run", lambda *a, **k: type("Done", (), {"returncode": 1, "stderr": ""})()
    )
    words = ("t1.nii.gz", "-o", "out", "--resources", "here", "--brain-extraction", "none")
    status, printed = type_in(*words, config="")
    assert status == 2
    assert "fetching sri24 (20 MB) into here" in printed
    assert "resources.paths.sri24" in printed
    assert "--resources" in printed
    shutil.rmtree(tmp_path / "out")
