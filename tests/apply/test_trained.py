"""The commands on a model folder, as a user runs them, on a volume in SRI24."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from braing3n.apply.trained import outputs
from braing3n.apply.trained.conditions import warn_of_scan
from braing3n.apply.trained.scans import Given, Prepared, open_scans
from braing3n.cli import main
from braing3n.config import PreprocessSettings, VolumesSettings
from braing3n.core.bids import derivative_path
from braing3n.core.errors import BrainG3nError
from braing3n.export.pretrained import from_pretrained
from braing3n.preprocess.space.grid import Grid, encode_affine, encode_nifti
from braing3n.volumes.pack import load_volume, locate_grid, to_model_grid

from .conftest import GRID, read

pytestmark = pytest.mark.usefixtures("one_thread")


def test_features_are_the_encoders_on_what_training_sees(run, made, scan):
    status, out, _ = run("encode", "--tokens")
    assert status == 0
    table = pd.read_parquet(out / "features.parquet")
    assert table.loc[0, ["sub", "ses", "modality"]].tolist() == ["07", "1", "T1"]
    model = from_pretrained(made[0], "cpu")
    (path,) = scan.rglob("*preproc_T1w.nii.gz")
    (mask_path,) = scan.rglob("*mask.nii.gz")
    volume, _ = load_volume(path, mask_path, model.volumes)
    brain = volume[to_model_grid(read(path), read(mask_path) > 0, model.volumes)[1]]
    assert (brain.mean(), brain.std()) == pytest.approx((0, 1), abs=1e-3)
    tokens = model.encode(torch.from_numpy(volume)[None, None])[0].numpy()
    np.testing.assert_allclose(np.load(next(out.glob("*tokens.npz")))["tokens"], tokens, atol=1e-5)
    found = table.filter(regex=r"^f\d+$").iloc[0].to_numpy()
    np.testing.assert_allclose(found.astype(float), tokens.mean(axis=0), atol=1e-5)


def test_every_probe_answers_with_its_error_and_the_age_gap(run):
    status, out, _ = run("predict", "--age", "40")
    table = pd.read_csv(out / "predictions.tsv", sep="\t").set_index("task")
    assert status == 0
    assert {"age", "sex", "disease"} <= set(table.index)
    age = table.loc["age"]
    assert age["age_gap_years"] == pytest.approx(float(age["value"]) - 40)
    assert "not a medical device" in json.loads((out / "predict.json").read_text())["Notice"]
    run("predict")
    content = json.loads((out / "predict.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert all("age_gap_years" not in row for row in content["Predictions"])


def test_an_unusual_age_and_a_cut_brain_are_warned_of(run):
    _, _, printed = run("predict", "--age", "99")
    assert "outside the training people's" in printed
    assert "the model's box cuts off" in printed


def test_a_scan_unlike_the_training_volumes_is_warned_of():
    population = {"modalities": {"T1": 50}}
    assert warn_of_scan("T1", 98.0, 0.0, population) == []
    (far,) = warn_of_scan("T1", 99.5, 0.0, population)
    assert "farther from the training volumes'" in far
    (unseen,) = warn_of_scan("FLAIR", 50.0, 0.0, population)
    assert "FLAIR" in unseen
    (cut,) = warn_of_scan("T1", 50.0, 0.02, population)
    assert "2.0 % of the brain" in cut


def test_generated_images_say_that_they_are_synthetic_everywhere(run):
    words = "--disease", "AD", "--age", "70", "--sex", "F", "--n", "3", "--seed", "5"
    status, out, _ = run("generate", *words, scans=False)
    assert status == 0
    paths = sorted(out.glob("*.nii.gz"))
    assert [path.name for path in paths] == [
        f"sub-synthetic{i:04d}_space-SRI24_desc-synthetic_T1w.nii.gz" for i in (1, 2, 3)
    ]
    assert all(b"SYNTHETIC" in bytes(nib.load(path).header["descrip"]) for path in paths)
    report = json.loads((out / "generate.json").read_text())
    assert report["Conditions"] == {"disease": "AD", "sex": "F", "modality": "T1", "age_years": 70.0}
    before = [read(path) for path in paths]
    run("generate", *words, scans=False)
    assert all(np.array_equal(a, read(path)) for a, path in zip(before, paths, strict=True))
    run("generate", *words[:-1], "6", scans=False)
    assert not np.allclose(before[0], read(paths[0]), atol=1e-4)


def test_a_counterfactual_without_a_change_is_the_reconstruction(run):
    words = "--own-disease", "AD", "--own-age", "60", "--steps", "50"
    _, out, _ = run("counterfactual", *words, "--disease", "AD")
    (same,) = out.glob("*ChangedDifference*.nii.gz")
    unchanged = np.abs(read(same)).max()
    _, out, _ = run("counterfactual", *words, "--disease", "HC", "--age", "20")
    changed = np.abs(read(next(out.glob("*ChangedDifference*.nii.gz")))).max()
    assert unchanged < 1e-2
    assert changed > 5 * unchanged
    assert list(out.glob("*.png"))


def test_a_forecast_is_compared_with_the_one_of_0_years(run):
    status, out, _ = run("forecast", "--disease", "MCI", "--years", "1", "4")
    assert status == 0
    images = {path.name.split("Forecast")[1].split("_")[0]: read(path) for path in out.glob("*.nii.gz")}
    assert set(images) == {"0y", "1y", "4y", "1yDifference", "4yDifference"}
    np.testing.assert_allclose(images["4yDifference"], images["4y"] - images["0y"], atol=1e-6)


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("generate", ["--disease", "XX"], "this model knows HC, AD"),
        ("generate", ["--site", "Mars"], "--site Mars"),
        ("generate", ["--age", "300"], "0 to 130"),
        ("generate", ["--n", "0"], '"0" for --n. Must be >= 1'),
        ("generate", ["--steps", "0"], '"0" for --steps. Must be >= 1'),
        ("generate", ["--disese", "AD"], "--disease"),
        ("generate", ["--modality", "T9"], "modality"),
        ("counterfactual", [], "say what changes"),
        ("counterfactual", ["--disease", "PD"], "--disease PD"),
        ("counterfactual", ["--disease", "AD", "--own-disease", "PD"], "--own-disease PD"),
        ("counterfactual", ["--disease", "AD", "--own-age", "300"], "--own-age 300"),
        ("counterfactual", ["--disease", "AD", "--strength", "nan"], "--strength nan"),
        ("predict", ["--age", "-5"], "--age -5"),
        ("forecast", ["--disease", "HC", "--sex", "X"], "--sex X: this model knows F, M"),
        ("forecast", ["--disease", "HC", "--age", "500"], "--age 500"),
        ("forecast", ["--disease", "HC", "--cdr", "9"], "--cdr 9"),
        ("forecast", ["--disease", "HC", "--years", "nan"], "--years nan"),
        ("forecast", ["--disease", "PD"], "this model knows HC, MCI, AD"),
        ("forecast", ["--disease", "HC", "--years", "-1"], "--years -1"),
        ("encode", ["/no/such/scan.nii.gz"], "no such file"),
        ("encode", ["--device", "tpu"], "device"),
    ],
)
def test_a_wrong_option_is_one_sentence(run, command, words, sentence):
    status, _, printed = run(command, *words, scans=command != "generate")
    lines = [line for line in printed.splitlines() if line.startswith("braing3n:")]
    assert status == 2
    assert len(lines) == 1
    assert sentence in lines[0]
    assert "Traceback" not in printed


@pytest.mark.parametrize(("scan_name", "model"), [("none.nii.gz", "."), ("", "no/such/folder")])
def test_a_mistyped_path_is_reported_before_pytorch_is_loaded(tmp_path, scan_name, model):
    (tmp_path / "scan").touch()
    words = ["encode", str(tmp_path / (scan_name or "scan")), "--model", model, "-o", str(tmp_path)]
    code = f"import sys; from braing3n.cli import main; print(main({words!r}), 'torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout.split() == ["2", "False"]
    assert "there is no such" in ended.stderr


def test_facts_of_one_person_are_not_said_of_several(run, scan):
    copy_person(scan, "08")
    assert run("predict")[0] == 0
    for command, words in (
        ("predict", ["--age", "50"]),
        ("counterfactual", ["--own-age", "50", "--age", "20"]),
        ("forecast", ["--disease", "HC"]),
    ):
        status, _, printed = run(command, *words)
        assert status == 2
        assert "sub-07_ses-1, sub-08_ses-1" in printed


def test_an_earlier_calls_volumes_are_not_taken_again(tmp_path, monkeypatch):
    """Of the folder of preprocessed volumes only those of the scans that are named now."""
    out, names = tmp_path / "out", ("07", "08")
    for name in names:
        path = derivative_path(out, "preprocessed", name, "", "", "T1", "preproc")
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_nifti(np.ones(GRID.shape, np.float32), GRID))
    row = {"subject_id": "08", "session_id": "", "run": "", "modality": "T1"}
    grid = ((2, 3, 4), np.eye(4))
    row |= {"status": "kept", "grid": grid}
    monkeypatch.setattr("braing3n.apply.preprocess.answer", lambda request: [row])
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    (tmp_path / "b.nii.gz").write_bytes(b"")
    (found,), warnings = open_scans(Given([tmp_path / "b.nii.gz"]), PreprocessSettings(), out)
    assert warnings == []
    assert (found.subject, found.grid) == ("08", grid)


def test_a_file_that_is_only_named_space_sri24_is_refused(made, tmp_path, capsys):
    path = tmp_path / "sub-1_space-SRI24_T1w.nii.gz"
    words = ["encode", str(path), "--model", str(made[0]), "-o", str(tmp_path / "out")]
    nib.save(nib.Nifti1Image(np.zeros((5, 5, 5), np.float32), np.eye(4)), path)
    assert main(words) == 2
    assert "its grid is 5x5x5" in capsys.readouterr().err
    path.write_bytes(b"no image")
    assert main(words) == 2
    assert "cannot be read as NIfTI" in capsys.readouterr().err


def copy_person(folder, new):
    """The visit of sub-07 once more, as of another person; returns the volume."""
    for path in list(folder.rglob("*.*")):
        other = Path(str(path).replace("sub-07", f"sub-{new}"))
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(path.read_bytes())
    return next(folder.rglob(f"sub-{new}*preproc_T1w.nii.gz"))


@pytest.mark.parametrize("share", [0, 0.1, 0.8])
def test_one_bad_volume_does_not_stop_the_others(run, scan, share):
    volume = copy_person(scan, "08")
    volume.write_bytes(volume.read_bytes()[: int(share * volume.stat().st_size)])
    for command, words in (("encode", []), ("predict", []), ("reconstruct", [])):
        status, out, printed = run(command, *words)
        assert status == 0
        assert "warning: sub-08_ses-1_T1w: is left out" in printed
        (warning,) = [w for w in json.loads((out / f"{command}.json").read_text())["Warnings"] if "left" in w]
        assert "08" in warning
    assert pd.read_parquet(out / "features.parquet")["sub"].tolist() == ["07"]


def test_scans_that_preprocessing_excludes_are_warned_of(tmp_path, monkeypatch):
    kept = derivative_path(tmp_path, "preprocessed", "07", "", "", "T1", "preproc")
    row = {"session_id": "", "run": "", "modality": "T1", "grid": None}
    rows = [row | {"subject_id": "07", "status": "kept", "reason": ""}]
    rows.append(row | {"subject_id": "08", "status": "excluded", "reason": "b.nii.gz: is truncated."})
    monkeypatch.setattr("braing3n.apply.preprocess.answer", lambda request: rows)
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    (found,), (warning,) = open_scans(Given([tmp_path]), PreprocessSettings(), tmp_path)
    assert found.path == kept
    assert "sub-08_T1w" in warning
    assert "truncated" in warning


def test_a_scan_that_is_named_twice_is_refused(run, scan):
    (path,) = scan.rglob("*preproc_T1w.nii.gz")
    status, _, printed = run("encode", str(path))
    assert status == 2
    assert "would both be sub-07_ses-1_T1w" in printed


def test_a_person_who_is_renamed_keeps_mask_and_affine(scan):
    (path,) = scan.rglob("*preproc_T1w.nii.gz")
    for given in (Given([scan], subject="X"), Given([path], subject="X")):
        (found,), _ = open_scans(given, PreprocessSettings(), scan)
        assert found.subject == "X"
        assert found.mask_path
        assert found.back_path


@pytest.fixture
def no_work(monkeypatch):
    """Preprocessing that must not begin."""
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    monkeypatch.setattr("braing3n.preprocess.shard.require_packages", lambda settings: None)
    monkeypatch.setattr("braing3n.apply.preprocess._prepare", lambda *_: pytest.fail("the work began"))


def write_raw(folder, *people):
    for who in people:
        path = folder / f"sub-{who}" / "anat" / f"sub-{who}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.ones((60, 60, 60), np.float32), np.diag([3.0, 3, 3, 1])), path)
    return folder


@pytest.mark.usefixtures("no_work")
def test_facts_and_raw_scans_are_checked_before_the_work(scan, tmp_path):
    raw = write_raw(tmp_path / "raw", "1", "2")
    given = {"settings": PreprocessSettings(), "out_dir": tmp_path / "out"}
    with pytest.raises(BrainG3nError, match="there are sub-1, sub-2"):
        open_scans(Given([raw], has_facts=True), **given)
    with pytest.raises(BrainG3nError, match="there are sub-07_ses-1, sub-1"):
        open_scans(Given([raw / "sub-1", scan], has_facts=True), **given)
    with pytest.raises(BrainG3nError, match=r"T1w\.nii\.gz: is named twice"):
        open_scans(Given([raw, raw / "sub-1"]), **given)
    with pytest.raises(BrainG3nError, match="--modality: holds for one scan"):
        open_scans(Given([raw / "sub-1", raw / "sub-2"], modality="FLAIR"), **given)
    path = next(raw.rglob("sub-1_T1w.nii.gz"))
    with pytest.raises(BrainG3nError, match="named as T1 and as T2; name it once"):
        open_scans(Given([], {"T1": path, "T2": path}), **given)


def test_the_raw_scans_are_taken_and_not_the_derivatives_beside_them(scan, tmp_path, monkeypatch):
    raw = write_raw(tmp_path / "raw", "07")
    scan.rename(raw / "derivatives")
    asked = []
    monkeypatch.setattr("braing3n.apply.preprocess.answer", lambda request: asked.append(request) or [])
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    with pytest.raises(BrainG3nError, match="no volume was kept"):
        open_scans(Given([raw]), PreprocessSettings(), tmp_path)
    assert asked[0].paths == [raw]
    (found,), _ = open_scans(Given([raw / "derivatives"]), PreprocessSettings(), tmp_path)
    assert found.name == "sub-07_ses-1"


def test_the_modality_of_one_raw_scan_is_the_one_that_is_said(tmp_path, monkeypatch):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"")
    asked = []
    monkeypatch.setattr("braing3n.apply.preprocess.answer", lambda request: asked.append(request) or [])
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    with pytest.raises(BrainG3nError, match="no volume was kept"):
        open_scans(Given([path], modality="FLAIR"), PreprocessSettings(), tmp_path)
    assert (asked[0].by_modality, asked[0].paths) == ({"FLAIR": path}, [])


def test_the_picture_shows_the_differences_that_are_written(tmp_path, monkeypatch):
    shown = {}

    def draw(volumes, path, n_columns):
        shown.update(volumes)
        path.touch()

    monkeypatch.setattr("braing3n.training.picture.draw_volumes", draw)
    after = {"0y": np.full((2, 2, 2), 3.0), "5y": np.full((2, 2, 2), 7.0)}
    outputs.draw_change(np.ones((2, 2, 2)), after, "0y", tmp_path / "x.png")
    assert shown["0y - before"].mean() == 2
    assert shown["5y - 0y"].mean() == 4


def test_the_models_grid_lies_where_the_volumes_do():
    """A bright voxel of the preprocessed volume is at the same millimetres in the model's grid."""
    for spacing_mm, crop, shape in ((8.0, "centre", (16, 24, 16)), (8.0, "atlas_centred", (16, 24, 16))):
        settings = VolumesSettings(shape=shape, spacing_mm=spacing_mm, crop=crop)
        image = np.zeros(GRID.shape, np.float32)
        image[14, 13, 9] = 1
        small, _, _ = to_model_grid(image, np.ones(GRID.shape, bool), settings)
        affine = locate_grid(settings, 8.0)
        place = np.argwhere(small == 1)[0]
        assert affine @ [*place, 1] == pytest.approx(GRID.affine @ [14, 13, 9, 1])
    fine = Grid((60, 60, 39), 4.0, (1.5, -237.5, 1.0))
    image = np.zeros(fine.shape, np.float32)
    image[28:30, 26:28, 18:20] = 1
    settings = VolumesSettings(shape=(16, 24, 16), spacing_mm=8.0)
    small, _, _ = to_model_grid(image, np.ones(fine.shape, bool), settings)
    weights = np.array(ndimage.center_of_mass(small))
    middle = fine.affine @ [28.5, 26.5, 18.5, 1]
    assert locate_grid(settings, 4.0) @ [*weights, 1] == pytest.approx(middle)


def test_results_are_carried_back_to_the_scans_own_space(tmp_path):
    """A blob in SRI24 lies, in the scan's own grid, where the affine puts it."""
    settings = VolumesSettings(shape=(16, 24, 16), spacing_mm=8.0)
    affine = locate_grid(settings, 8.0)
    image = np.zeros(settings.shape, np.float32)
    image[7:10, 11:14, 6:9] = 1
    to_sri24 = np.eye(4)
    to_sri24[:3, :3] = [[1.1, 0.1, 0], [-0.05, 0.9, 0.1], [0, 0.02, 1.05]]
    to_sri24[:3, 3] = [4, -6, 9]
    (tmp_path / "x.mat").write_bytes(encode_affine(to_sri24))  # LPS points of the scan -> of SRI24
    raw_affine = np.array([[0, -2.0, 0, 60], [2.5, 0, 0, 20], [0, 0, 3.0, -20], [0, 0, 0, 1]])
    grid = ((100, 110, 70), raw_affine)
    scan = Prepared("1", "", "", "T1", tmp_path / "p", None, tmp_path / "x.mat", grid)
    moved, found_affine = outputs.carry_back(image, affine, scan)
    assert np.array_equal(found_affine, raw_affine)
    assert moved.shape == grid[0]
    flip = np.diag([-1.0, -1, 1, 1])
    centre = flip @ np.linalg.inv(to_sri24) @ flip @ affine @ [8, 12, 7, 1]  # RAS of the scan
    expected = np.linalg.inv(raw_affine) @ centre
    assert ndimage.center_of_mass(moved) == pytest.approx(expected[:3], abs=0.3)
    assert outputs.carry_back(image, affine, Prepared("1", "", "", "T1", tmp_path / "p")) is None
