"""Anatomy of two folders: phantoms in SRI24, larger ventricles, noise, and brains that lie elsewhere."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from braing3n.apply.judges.folders import Lattice
from braing3n.atlas.maps import lay_maps
from braing3n.atlas.templates import centred_affine
from braing3n.cli import main
from braing3n.phantoms.miniature import render_preprocessed

SHAPE = (40, 48, 40)
AFFINE = centred_affine(SHAPE, 4.0)
N_GENERATED, N_REAL = 8, 16


@pytest.fixture(scope="module")
def phantoms(fetch_resource):
    """Brains as preprocessed, and where the ventricles are."""
    wheels = fetch_resource("brain-templates"), fetch_resource("head-template")
    volumes, masks, _ = render_preprocessed(N_GENERATED + N_REAL, 3, *wheels)
    return volumes, masks, lay_maps(wheels[0], SHAPE, AFFINE).is_ventricle


@pytest.fixture
def compare(tmp_path, phantoms, capsys):
    """A function: (generated volumes, affine) -> status, tables by name, what it printed."""
    volumes, masks, _ = phantoms
    real = [np.where(mask, v + 10, 0) for v, mask in zip(volumes, masks, strict=True)][N_GENERATED:]

    def run(generated, affine=AFFINE, *words):
        for role, arrays in (("generated", generated), ("real", real)):
            (tmp_path / role).mkdir()
            for k, array in enumerate(arrays):
                path = tmp_path / role / f"sub-{k:02d}_T1w.nii.gz"
                nib.save(nib.Nifti1Image(array.astype(np.float32), affine), path)
        out = tmp_path / "out"
        given = ["--generated", str(tmp_path / "generated"), "--real", str(tmp_path / "real"), "-o", str(out)]
        status = main(["fidelity", "compare", *given, "--draws", "3", "--pairs", "1", *words])
        printed = capsys.readouterr()
        return status, {p.stem: pd.read_parquet(p) for p in out.glob("*.parquet")}, printed.out + printed.err

    return run


def test_larger_ventricles_and_noise_are_found(compare, phantoms):
    volumes, masks, near = phantoms
    generated = []
    for volume, mask in zip(volumes[: N_GENERATED - 1], masks, strict=False):
        deep = near & mask & (volume < np.percentile(volume[mask], 15))
        wide = np.where(ndimage.binary_dilation(deep) & near, np.percentile(volume[mask], 3), volume)
        generated.append(np.where(mask, 5 * wide + 100, 0))
    noise = np.random.default_rng(0).normal(100, 10, SHAPE)
    status, tables, said = compare([*generated, np.where(masks[-1], noise, 0)])
    anatomy, segmented = tables["anatomy"].set_index("volume"), tables["segmented"]
    assert status == 0
    assert anatomy.loc["ventricles", "value_low"] > 0.8
    assert anatomy.loc["ventricles", "value"] > anatomy.loc["ventricles", "floor_high"]
    assert (anatomy["n_first"] == N_GENERATED - 1).all()
    assert (anatomy["n_first_left_out"] == 1).all()
    assert (anatomy["n_second"] == N_REAL).all()
    left_out = segmented[~segmented["is_reliable"]]
    assert left_out[["set", "item_id"]].to_numpy().tolist() == [["generated", "sub-07_T1w.nii.gz"]]
    assert "Hedges' g" in said


def test_brains_elsewhere_have_no_anatomy_but_distances(compare, phantoms):
    moved = AFFINE.copy()
    moved[:3, 3] += 120, -110, -73  # about where MNI has its origin
    volumes, masks, _ = phantoms
    status, tables, said = compare(
        [np.where(m, v + 10, 0) for v, m in zip(volumes[:8], masks, strict=False)], moved
    )
    assert status == 0
    assert tables["anatomy"]["reason"].str.contains("mm from where SRI24's does").all()
    assert tables["distances"]["value"].notna().any()
    assert "mm from where SRI24's does" in said
    assert "Hedges' g" not in said


def test_a_tools_table_of_the_same_files_stands_beside_ours(compare, phantoms, tmp_path):
    volumes, masks, _ = phantoms
    names = [("generated", k) for k in range(N_GENERATED)] + [("real", k) for k in range(N_REAL)]
    brains_ml = [masks[k + N_GENERATED * (name == "real")].sum() * 0.064 for name, k in names]
    table = pd.DataFrame({"set": [name for name, _ in names], "csf": 0.1 * np.array(brains_ml)})
    table["item_id"] = [f"sub-{k:02d}_T1w.nii.gz" for _, k in names]
    table.to_csv(tmp_path / "tool.tsv", sep="\t", index=False)
    generated = [np.where(m, v + 10, 0) for v, m in zip(volumes[:N_GENERATED], masks, strict=False)]
    words = ("--measured.SynthSeg", str(tmp_path / "tool.tsv"))
    status, tables, _ = compare(generated, AFFINE, *words)
    found = tables["anatomy"].query("tool == 'SynthSeg'").set_index("quantity")
    assert status == 0
    assert found.loc["Hedges' g", "first"] == pytest.approx(np.mean(table["csf"][:N_GENERATED]))
    ours = tables["segmented"].set_index(["set", "item_id"])["csf"]
    agreement = found[(found.index == "r with ours") & (found["comparison"] == "real")].iloc[0]
    theirs = table.set_index(["set", "item_id"])["csf"]
    expected = np.corrcoef(ours["real"], theirs["real"].loc[ours["real"].index])[0, 1]
    assert agreement["value"] == pytest.approx(expected)
    (tmp_path / "tool.tsv").write_text("item_id\tcsf\nsub-00\t3\n")
    for role in ("generated", "real"):
        shutil.rmtree(tmp_path / role)
    status, _, said = compare(generated, AFFINE, *words)
    assert status == 2
    assert "has no column 'set'" in said


def test_a_lattice_gives_its_affine_again():
    affine = AFFINE.copy()
    affine[:3, 3] += 1.3, -0.7, 0.2
    np.testing.assert_allclose(Lattice.of(affine, SHAPE).affine, affine, atol=0.02)
