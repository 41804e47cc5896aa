"""The commands on a model folder, on scans as a scanner leaves them: a DICOM study, and a real head."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.processing import resample_from_to, smooth_image

from braing3n.cli import main
from braing3n.phantoms.formats import PLANTED, write_dicom
from braing3n.phantoms.miniature import load_world
from braing3n.phantoms.people import draw_people
from braing3n.phantoms.scanner import scan_head
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
QUICK = {"spacing_mm": 4.0, "brain_extraction": "deepbet", "n_deepbet_networks": 1}
QUICK |= {"n4_spacing_mm": 18.0, "n4_iterations": [20, 20]}
COMMANDS = {
    "encode": ["--tokens"],
    "predict": ["--age", "50"],
    "reconstruct": [],
    "counterfactual": ["--own-disease", "AD", "--disease", "HC", "--age", "70"],
    "forecast": ["--disease", "MCI", "--age", "70", "--years", "1", "3"],
}


@pytest.fixture(scope="module")
def model(made, tmp_path_factory):
    """A tiny model folder whose scans are preprocessed quickly at 4 mm."""
    folder = tmp_path_factory.mktemp("model") / "export"
    shutil.copytree(made[0], folder)
    config = json.loads((folder / "config.json").read_text())
    config["preprocess"] |= QUICK
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def run(model, fetch_resource):
    """A function: a command, scans, the folder of results and options -> the exit status."""
    resources = str(fetch_resource("sri24").parent)

    def run(command, scans, out, *words):
        given = ["--model", str(model), "-o", str(out), "--resources", resources, "--threads", "1"]
        return main([command, *map(str, scans), *given, *words])

    return run


@pytest.fixture(scope="module")
def phantom(fetch_resource, tmp_path_factory):
    """One phantom head at 3 mm, as a DICOM study and as NIfTI: (folder, file)."""
    folder = tmp_path_factory.mktemp("phantom")
    world = load_world(fetch_resource("brain-templates"), fetch_resource("head-template"))
    image, affine, _ = scan_head(world, draw_people(20, 7)[0], 0, "T1", 3.0)
    grey = np.round(1000 * image / image.max()).astype(np.int16)
    write_dicom(folder / "study", "1-{:03d}", grey, affine, description="T1 MPRAGE", series_number=1)
    nib.save(nib.Nifti1Image(grey, affine), folder / "head_T1w.nii.gz")
    return folder / "study", folder / "head_T1w.nii.gz"


def read_features(out):
    return pd.read_parquet(out / "features.parquet").filter(regex=r"^f\d+$").iloc[0].to_numpy(float)


def test_every_command_takes_a_dicom_study_and_sees_what_is_in_it(run, phantom, tmp_path, capsys):
    """The same head as NIfTI has the same features, though its voxels lie in another order."""
    study, nifti = phantom
    for command, words in COMMANDS.items():
        assert run(command, [study], tmp_path / "dicom", *words) == 0, capsys.readouterr().err
    names = {path.name for path in (tmp_path / "dicom").iterdir()}
    assert {f"{command}.json" for command in COMMANDS} <= names
    for what in ("ReconstructionReconstructed", "CounterfactualChanged", "Forecast3yDifference"):
        for space in ("SRI24", "native"):
            assert f"sub-01_space-{space}_desc-synthetic{what}_T1w.nii.gz" in names
    assert "sub-01_desc-syntheticForecast_T1w.png" in names
    assert run("encode", [nifti], tmp_path / "nifti") == 0
    found, expected = read_features(tmp_path / "dicom"), read_features(tmp_path / "nifti")
    assert np.abs(found - expected).max() < 0.01 * expected.std()
    text = "".join(path.read_text() for path in (tmp_path / "dicom").glob("*.json"))
    assert [word for word in PLANTED if word in text] == [], "no identity of the headers"


@pytest.fixture
def perfect(monkeypatch):
    """A decoder that gives back the volume that was encoded last."""
    seen, encode = [], MaskedAutoencoder.encode
    monkeypatch.setattr(
        MaskedAutoencoder, "encode", lambda net, volume: seen.append(volume) or encode(net, volume)
    )
    monkeypatch.setattr(Tokenizer, "decode", lambda net, tokens: seen[-1].clone())


@pytest.mark.usefixtures("perfect")
def test_results_lie_on_the_real_head_that_was_given(run, shared_data, tmp_path, capsys):
    """Of a perfect decoder, what is carried back is the head's brain, on the head's own grid."""
    raw = shared_data / "ds000011" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    before = raw.stat()
    for command, words in COMMANDS.items():
        assert run(command, [raw], tmp_path, *words) == 0, capsys.readouterr().err
    assert (raw.stat().st_mtime_ns, raw.stat().st_size) == (before.st_mtime_ns, before.st_size)
    (path,) = tmp_path.glob("*space-native_desc-syntheticReconstruction*")
    head, brain = nib.load(raw), nib.load(path)
    assert brain.shape == head.shape
    np.testing.assert_allclose(brain.affine, head.affine, atol=1e-4)
    coarse = smooth_image(nib.Nifti1Image(np.asarray(head.dataobj, np.float32), head.affine), 10)
    coarse = np.asarray(resample_from_to(coarse, head, order=1).dataobj)
    carried, is_brain = np.asarray(brain.dataobj), np.asarray(brain.dataobj) != 0
    brain_ml = is_brain.sum() * abs(np.linalg.det(head.affine[:3, :3])) / 1000
    assert 1200 < brain_ml < 2500, "the brain, and the voxels of 8 mm that its rim touches"

    def agree(other):
        return np.corrcoef(carried[is_brain], other[is_brain])[0, 1]

    assert agree(coarse) > 0.8
    assert max(agree(np.flip(coarse, axis)) for axis in range(3)) < agree(coarse) - 0.1
