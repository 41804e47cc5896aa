"""What a command sees of a preprocessed volume: its brain alone, where it lies, and how unusual it is."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.apply.trained.command import Input
from braing3n.apply.trained.scans import Given, take_volume
from braing3n.core.bids import derivative_path
from braing3n.export.pretrained import from_pretrained
from braing3n.preprocess.space.grid import Grid, encode_nifti
from braing3n.volumes.pack import locate_grid

pytestmark = pytest.mark.usefixtures("one_thread")


def read_features(out):
    table = pd.read_parquet(out / "features.parquet")
    return table.filter(regex=r"^f\d+$").to_numpy(float), table["distance_percentile"].to_numpy()


def rewrite(path, change):
    """Replace a NIfTI by one with changed voxels and affine."""
    image = nib.load(path)
    voxels, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.Nifti1Image(voxels, affine), path)


def test_what_lies_outside_the_mask_is_not_seen(run, scan):
    _, out, _ = run("encode")
    before, _ = read_features(out)
    mask = np.asarray(nib.load(next(scan.rglob("*mask.nii.gz"))).dataobj) > 0
    path = next(scan.rglob("*preproc_T1w.nii.gz"))
    rewrite(path, lambda voxels, affine: (np.where(mask, voxels, 100).astype(np.float32), affine))
    _, out, _ = run("encode")
    np.testing.assert_allclose(read_features(out)[0], before, atol=1e-5)


def test_a_mask_that_lies_elsewhere_leaves_its_scan_out(run, scan):
    def move(voxels, affine):
        affine[0, 3] += 8.0
        return voxels, affine

    rewrite(next(scan.rglob("*mask.nii.gz")), move)
    status, _, printed = run("encode")
    assert status == 2
    assert "the brain mask has another grid than its volume" in printed


def test_the_percentile_of_the_distance_is_the_models_and_grows_with_the_distance(run, scan, made):
    _, out, _ = run("encode")
    features, percentile = read_features(out)
    model = from_pretrained(made[0], "cpu")
    assert percentile == pytest.approx(model.measure_distance(features), abs=0.1)
    middle, far = model.space["mean"], model.space["mean"] + 100 * np.abs(model.space["mean"])
    assert model.measure_distance(middle[None])[0] < 5
    assert model.measure_distance(far[None])[0] > 95


def test_images_of_finer_volumes_lie_where_these_lie(run, scan, tmp_path, made):
    """The box of SRI24 has other corners at other spacings; the model's has 8 mm."""
    shutil.rmtree(scan)
    grid = Grid((60, 60, 39), 4.0, (1.5, -237.5, 1.0))
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij"))
    mask = (places**2).sum(axis=0) < 0.35
    (scan / "sub-07" / "ses-1" / "anat").mkdir(parents=True)
    image = np.where(mask, 3 + places[0], 0).astype(np.float32)
    for kind, voxels in {"preproc": image, "mask": mask.astype(np.uint8)}.items():
        derivative_path(tmp_path / "scans", "lab", "07", "1", "", "T1", kind).write_bytes(
            encode_nifti(voxels, grid)
        )
    status, out, printed = run("reconstruct")
    assert status == 0, printed
    written = nib.load(next(out.glob("*Reconstructed_T1w.nii.gz")))
    expected = locate_grid(from_pretrained(made[0], "cpu").volumes, 4.0)
    np.testing.assert_allclose(written.affine, expected)
    assert not np.allclose(expected, locate_grid(from_pretrained(made[0], "cpu").volumes, 8.0))
    assert written.header.get_xyzt_units()[0] == "mm"


def test_a_run_has_its_own_way_back(tmp_path):
    for run_name in ("", "_run-1", "_run-2"):
        (tmp_path / f"sub-1{run_name}_space-SRI24_desc-preproc_T1w.nii.gz").touch()
        (tmp_path / f"sub-1{run_name}_from-SRI24_to-T1w_mode-image_xfm.mat").touch()
    found = take_volume(tmp_path / "sub-1_run-2_space-SRI24_desc-preproc_T1w.nii.gz", Given([]))
    assert found.back_path.name == "sub-1_run-2_from-SRI24_to-T1w_mode-image_xfm.mat"


def test_each_option_of_a_contrast_is_that_contrast(tmp_path):
    given = Input(t1=tmp_path / "a", t1c=tmp_path / "b", t2=tmp_path / "c", flair=tmp_path / "d")
    names = {name: path.name for name, path in given.by_modality.items()}
    assert names == {"T1": "a", "T1c": "b", "T2": "c", "FLAIR": "d"}


def test_the_report_has_the_conditions_and_the_seed(run, one, asked):
    words = "--own-disease", "AD", "--own-site", "lab/one", "--disease", "HC"
    _, out, _ = run("counterfactual", one, *words, scans=False)
    report = json.loads((out / "counterfactual.json").read_text())
    assert report["Own"] == {"disease": "AD", "site": "lab/one"}
    assert report["New"] == {"disease": "HC"}
    known, wanted, *_ = asked["counterfactual"]
    assert (known["site"], wanted["site"]) == ("lab/one", "lab/one")
    run("counterfactual", one, "--site", "lab/one", scans=False)
    known, wanted, *_ = asked["counterfactual"]
    assert (known["site"], wanted["site"]) == ("", "lab/one")
    _, out, _ = run("generate", "--seed", "8", "--steps", "5", scans=False)
    sampling = json.loads((out / "generate.json").read_text())["Sampling"]
    assert (sampling["seed"], sampling["n_steps"]) == (8, 5)


def test_years_beyond_the_follow_up_are_warned_of_by_the_command(run, one, asked, monkeypatch):
    load = from_pretrained

    def load_followed(*given):
        model = load(*given)
        model.population["years_followed"] = 5
        return model

    monkeypatch.setattr("braing3n.export.pretrained.from_pretrained", load_followed)
    words = one, "--disease", "HC", "--years", "1"
    assert "beyond the 5 years" in run("forecast", *words, "20", scans=False)[2]
    assert "beyond the 5 years" not in run("forecast", *words, scans=False)[2]
