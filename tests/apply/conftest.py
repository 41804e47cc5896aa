"""A preprocessed visit, and the commands on the invented run's model folder."""

import nibabel as nib
import numpy as np
import pytest
import torch

from braing3n.cli import main
from braing3n.core.bids import derivative_path
from braing3n.preprocess.space.grid import Grid, encode_affine, encode_nifti

GRID = Grid((30, 30, 20), 8.0, (3.5, -235.5, 1.0))  # SRI24's box at 8 mm


@pytest.fixture
def scan(tmp_path):
    """A preprocessed visit: an ellipsoid with a gradient, its mask and its affine."""
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij"))
    mask = (places**2).sum(axis=0) < 0.35
    image = np.where(mask, 3 + places[0] + 0.3 * places[1], 0).astype(np.float32)
    folder = tmp_path / "scans"
    files = {"preproc": encode_nifti(image, GRID), "mask": encode_nifti(mask.astype(np.uint8), GRID)}
    files["inverse_xfm"] = encode_affine(np.eye(4))
    (folder / "lab" / "sub-07" / "ses-1" / "anat").mkdir(parents=True)
    for kind, content in files.items():
        derivative_path(folder, "lab", "07", "1", "", "T1", kind).write_bytes(content)
    return folder / "lab"


@pytest.fixture
def run(made, scan, tmp_path, capsys):
    """A function: a command's words -> (status, its folder of results, what it printed)."""

    def run(command, *words, scans=True):
        out = tmp_path / "out"
        status = main([command, *[str(scan)] * scans, "--model", str(made[0]), "-o", str(out), *words])
        printed = capsys.readouterr()
        return status, out, printed.out + printed.err

    return run


@pytest.fixture
def one(scan):
    """The one volume of the visit."""
    return str(next(scan.rglob("*preproc_T1w.nii.gz")))


@pytest.fixture
def asked(monkeypatch):
    """What the generators are asked, by command; samples are noise, and a later forecast is brighter."""
    found = {}

    def change(dit, tokens, own, new, settings, strength, watch):
        found["counterfactual"] = own.iloc[0], new.iloc[0], settings, strength
        return tokens

    def forecast(bridge, tokens, table, options, watch):
        found["forecast"] = table, options
        return tokens * torch.tensor(1 + table["years"].to_numpy(np.float32))[:, None, None]

    def sample(dit, table, settings, device, watch):
        found.setdefault("generate", []).append((table, settings))
        return torch.zeros(len(table), dit.n_tokens, dit.d)

    monkeypatch.setattr("braing3n.diffusion.edit.change_conditions", change)
    monkeypatch.setattr("braing3n.longitudinal.forecast.forecast_tokens", forecast)
    monkeypatch.setattr("braing3n.diffusion.sample.sample_tokens", sample)
    return found


def read(path):
    return np.asarray(nib.load(path).dataobj)
