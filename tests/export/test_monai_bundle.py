"""The MONAI bundle: MONAI verifies it and runs it, and its features are ours."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
import torch

from braing3n import from_pretrained
from braing3n.config import VolumesSettings
from braing3n.export.command import app
from braing3n.export.monai_bundle import ReadVolume, describe_inference
from braing3n.volumes.pack import load_volume

ROOT = Path(__file__).parents[2]
CONFIGS = ["--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json"]


@pytest.fixture(scope="module")
def bundle(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("monai") / "bundle"
    app(["--format", "monai", "--model", str(made[0]), "--out", str(out)], result_action="return_value")
    return out


def write_scan(folder, seed=0):
    """A preprocessed scan on SRI24's grid at 8 mm, and its brain mask: their paths."""
    rng, mask = np.random.default_rng(seed), np.zeros((30, 30, 20), np.uint8)
    mask[8:22, 5:25, 3:17] = 1
    image = (rng.gamma(5.0, 20.0, size=mask.shape) * mask).astype(np.float32)
    paths = folder / "scan.nii.gz", folder / "mask.nii.gz"
    for path, array in zip(paths, (image, mask), strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([8.0, 8.0, 8.0, 1.0])), path)
    return paths


def run_monai(bundle, *arguments):
    command = [sys.executable, "-m", "monai.bundle", *arguments]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_it_has_the_layout_of_a_bundle(bundle):
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    configs = {"configs/metadata.json", "configs/inference.json"}
    assert files == {*configs, "models/model.pt", "docs/README.md", "LICENSE"}


@pytest.mark.slow
def test_monai_verifies_its_network(bundle):
    said = run_monai(bundle, "verify_net_in_out", "--net_id", "network_def", *CONFIGS)
    assert "data shape of network is verified with no error" in said


@pytest.mark.slow
def test_monai_runs_its_inference_and_the_features_are_ours(bundle, made, tmp_path):
    scans = []
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        scans.append([str(path) for path in write_scan(tmp_path / str(seed), seed)])
    images, masks = map(list, zip(*scans, strict=True))
    run_monai(
        bundle, "run", "--bundle_root", ".", *CONFIGS, "--images", str(images), "--masks", str(masks),
        "--output", str(tmp_path / "features.npy"),
    )  # fmt: skip
    model = from_pretrained(made[0], "cpu")
    volumes = np.stack([load_volume(*paths, model.volumes)[0] for paths in scans])
    expected = model.encode(torch.from_numpy(volumes)[:, None]).mean(dim=1).numpy()
    found = np.load(tmp_path / "features.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3, "an order can be seen"


def test_it_reads_a_scan_as_the_model_does(tmp_path, made):
    """With the model's crop, and without what lies outside the brain's mask."""
    image, mask = write_scan(tmp_path)
    full = nib.load(image)
    nib.save(nib.Nifti1Image(np.asarray(full.dataobj) + 50, full.affine), image)
    model = from_pretrained(made[0], "cpu")
    for crop in get_args(VolumesSettings.model_fields["crop"].annotation):
        volumes = model.volumes.model_copy(update={"crop": crop})
        settings = describe_inference(replace(model, volumes=volumes), {})["preprocessing"]
        assert settings.pop("_target_") == "braing3n.export.monai_bundle.ReadVolume"
        found = ReadVolume(**settings)({"image": str(image), "mask": str(mask)})
        np.testing.assert_array_equal(found[0].numpy(), load_volume(image, mask, volumes)[0])


def test_its_licence_is_the_model_folders(bundle):
    assert (bundle / "LICENSE").read_text() == "SPDX-License-Identifier: apache-2.0\n"
    assert "apache-2.0" in json.loads((bundle / "configs/metadata.json").read_text())["copyright"]


def test_its_metadata_has_what_the_schema_requires(bundle):
    """Of the schema of July 2024: what is required, and of which type."""
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    texts = ("schema", "version", "monai_version", "pytorch_version", "numpy_version")
    texts += ("task", "description", "authors", "copyright")
    assert all(isinstance(metadata[name], str) for name in texts)
    assert isinstance(metadata["required_packages_version"], dict)
    assert metadata["version"] in metadata["changelog"]
    arguments = metadata["network_data_format"]
    kinds = {"type": str, "format": str, "num_channels": int, "spatial_shape": list, "dtype": str}
    for argument in (arguments["inputs"]["image"], arguments["outputs"]["pred"]):
        assert all(isinstance(argument[name], kind) for name, kind in (kinds | {"value_range": list}).items())


@pytest.mark.slow
def test_monai_verifies_its_metadata_where_the_schema_can_be_had(bundle, tmp_path):
    host = json.loads((bundle / "configs/metadata.json").read_text())["schema"].split("/")[2]
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError as error:
        pytest.skip(f"the schema cannot be had: {error}")
    said = run_monai(bundle, "verify_metadata", *CONFIGS[:2], "--filepath", str(tmp_path / "schema.json"))
    assert "metadata is verified with no error" in said


def test_pytorchs_own_files_are_never_read_with_their_code():
    """They can hold code: whatever loads one takes its tensors only, and of a bundle only MONAI does."""
    loads = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "braing3n").rglob("*.py")
        for line in path.read_text().splitlines()
        if "torch.load(" in line and "weights_only=True" not in line
    ]
    assert loads == []
