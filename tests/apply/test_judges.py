"""The judges on any two folders of NIfTI, as a user runs them: results, bad input, and what they find."""

import sys
from importlib.util import find_spec

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from braing3n.apply.judges.folders import Lattice, open_folders, read_lps
from braing3n.cli import main

SHAPE = (22, 26, 20)
AFFINE = np.diag([-4.0, -4.0, 4.0, 1.0])
AFFINE[:3, 3] = 40, 50, -36
PLACES = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
BRAIN = (PLACES**2).sum(axis=0) < 0.8


def make_brain(seed):
    """A head: what all have, and smooth structure of the person's own; background exactly 0."""
    own = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.2)
    return np.where(BRAIN, 100 + 30 * PLACES[0] + 20 * own / own.std(), 0).astype(np.float32)


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def folders(tmp_path):
    """Twelve people as training volumes, eight more as generated ones."""
    for k in range(20):
        role = "real" if k < 12 else "generated"
        write(tmp_path / role / f"sub-{k:02d}_T1w.nii.gz", make_brain(k))
    return tmp_path / "generated", tmp_path / "real", tmp_path / "out"


@pytest.fixture
def compare(folders, capsys):
    """A function: further words -> (status, tables by name, what it printed)."""

    def run(*words, command="fidelity compare", real="--real"):
        generated, other, out = folders
        given = [*command.split(), "--generated", str(generated), real, str(other), "--out", str(out)]
        status = main([*given, *words])
        printed = capsys.readouterr()
        return status, {p.stem: pd.read_parquet(p) for p in out.glob("*.parquet")}, printed.out + printed.err

    return run


@pytest.fixture
def audit(compare):
    return lambda *words: compare(*words, command="memorization audit", real="--train")


def test_two_folders_are_compared(compare, folders):
    status, tables, said = compare("--draws", "20", "--pairs", "3")
    found = tables["distances"].set_index(["quantity", "features"])
    assert status == 0
    assert found.loc[("3D-FID", "Inception V3, 30 slices a volume"), "reason"].startswith(
        "no Inception weights"
    )
    assert "no Inception weights are given" in said
    assert "fewer than 64 people" in said
    voxels = found.xs("coarse voxels", level="features")
    assert list(voxels.index) == [
        "Fréchet distance",
        "KID",
        "MMD",
        "precision",
        "recall",
        "density",
        "coverage",
    ]
    assert voxels["value"].notna().all()
    assert (voxels["n_generated"] == 8).all()
    assert (voxels["n_real_people"] == 12).all()
    assert voxels.loc["Fréchet distance", "n_dealt"] == 6
    assert len(tables["nearest"]) == 8
    assert len(tables["left_out"]) == 0
    assert (folders[2] / "nearest.png").stat().st_size > 1000


def blur(volume):
    return ndimage.gaussian_filter(volume, 1.0)


@pytest.mark.parametrize(
    ("change", "kernel", "frechet"),
    [
        (lambda v, rng: v, "within", "within"),
        (lambda v, rng: blur(v), "above", "within"),
        (lambda v, rng: v + 2 * (v - blur(v)), "above", "above"),
        (lambda v, rng: v + rng.normal(0, 40, SHAPE), "above", "below"),
    ],
    ids=["same", "blurred", "sharpened", "noisy"],
)
def test_a_changed_set_lies_above_the_floor(compare, folders, change, kernel, frechet):
    """Of few people the Fréchet distance is mostly bias, so lost variance can hide what the kernels see."""
    rng = np.random.default_rng(0)
    for k in range(12, 20):
        write(folders[0] / f"sub-{k:02d}_T1w.nii.gz", change(make_brain(k), rng).astype(np.float32))
    table = compare("--draws", "40", "--pairs", "1")[1]["distances"]
    found = table[table["features"] == "coarse voxels"].set_index("quantity")["against_floor"]
    assert found[["MMD", "KID", "Fréchet distance"]].tolist() == [kernel, kernel, frechet]


def test_copies_are_flagged_and_new_people_are_not(audit, folders):
    generated = folders[0]
    status, tables, _ = audit()
    assert status == 0
    assert tables["summary"]["n_identical"].tolist() == [0, 0]
    assert tables["membership"].empty
    plants = {
        "same": lambda v: v,
        "gain": lambda v: 3 * v,
        "shift": lambda v: np.roll(v, 2, axis=1),
        "flip": lambda v: v[::-1],
    }
    for k, (name, change) in enumerate(plants.items()):
        write(generated / f"copy-{name}.nii.gz", np.ascontiguousarray(change(make_brain(k))))
    tables = audit()[1]
    copies = tables["copies"].set_index("item_id").loc[[f"copy-{name}.nii.gz" for name in plants]]
    assert copies["is_flagged"].all()
    assert copies["nearest_id"].tolist() == [f"sub-{k:02d}_T1w.nii.gz" for k in range(4)]
    assert copies["is_mirrored"].tolist() == [False, False, False, True]
    nearest = tables["nearest"].set_index("item_id").loc[copies.index]
    assert nearest["is_below_threshold"].tolist() == [True, True, False, False]
    summary = tables["summary"].set_index("detector")
    assert summary.loc["L2 of coarse voxels", "n_identical"] == 2


def test_held_out_people_give_the_expected_count_and_who_is_given_away(audit, folders, tmp_path):
    for k in range(30, 36):
        write(tmp_path / "held" / f"sub-{k}_T1w.nii.gz", make_brain(k))
    _, tables, said = audit("--held-out", str(tmp_path / "held"))
    assert tables["summary"]["n_held_out_people"].tolist() == [6, 6]
    found = tables["membership"].set_index("comparison")
    assert (found.loc["samples", ["n_members", "n_others"]] == [12, 6]).all()
    assert (found.loc["members only", ["n_members", "n_others"]] == [6, 6]).all()
    assert found["low"].le(found["auc"]).all()
    assert "membership by" in said
    for k in range(12):  # every training volume comes back
        write(folders[0] / f"copy-{k:02d}.nii.gz", make_brain(k) + np.where(BRAIN, 0.5, 0).astype(np.float32))
    found = audit("--held-out", str(tmp_path / "held"))[1]["membership"].set_index("comparison")
    assert found.loc["samples", "auc"] == 1
    assert found.loc["members only", "auc"] < 1
    write(tmp_path / "held" / "sub-03_T1w.nii.gz", make_brain(3))
    status, _, said = audit("--held-out", str(tmp_path / "held"))
    assert status == 2
    assert "03 is in --train, too" in said


def test_a_contrastive_detector_is_trained_where_steps_are_given(audit, folders, tmp_path):
    """A mirrored copy, which L2 misses; without people held out there is no threshold."""
    status, tables, said = audit("--contrastive-steps", "60")
    assert status == 2
    assert "--contrastive-steps needs --held-out" in said
    for k in range(30, 42):
        write(tmp_path / "held" / f"sub-{k}_T1w.nii.gz", make_brain(k))
    write(folders[0] / "copy.nii.gz", np.ascontiguousarray(make_brain(0)[::-1]))
    status, tables, _ = audit("--held-out", str(tmp_path / "held"), "--contrastive-steps", "200")
    assert status == 0
    summary = tables["summary"].set_index("detector").loc["contrastive detector"]
    assert (summary["n_synthetic_real"], summary["n_held_out_people"]) == (9, 12)
    found = tables["contrastive"].set_index("item_id").loc["copy.nii.gz"]
    assert found["nearest_id"] == "sub-00_T1w.nii.gz"
    assert found["is_below_threshold"]
    assert not tables["nearest"].set_index("item_id").loc["copy.nii.gz", "is_below_threshold"]


BAD = {
    "four.nii.gz": (np.zeros((*SHAPE, 2), np.float32), "it has 4 dimensions (22x26x20x2), not 3"),
    "nan.nii.gz": (np.where(BRAIN, np.nan, 0).astype(np.float32), "are not finite"),
    "flat.nii.gz": (np.zeros(SHAPE, np.float32), "all its voxels are equal"),
    "grid.nii.gz": (np.ones((9, 9, 9), np.float32), "it does not cover the box"),
    "x_mask.nii.gz": (np.ones(SHAPE, np.uint8), "no volume (a mask"),
}


@pytest.mark.parametrize("role", ["generated", "real"])
def test_a_bad_file_is_left_out_with_its_reason_and_the_rest_goes_on(compare, folders, role):
    before = compare("--draws", "5")[1]["distances"]
    folder = folders[0] if role == "generated" else folders[1]
    for name, (array, _) in BAD.items():
        write(folder / name, array)
    (folder / "torn.nii.gz").write_bytes(b"\x1f\x8b\x08 torn")
    write(folder / "fine.nii.gz", np.ones(SHAPE, np.float32), np.diag([1.0, 1, 1, 1]))
    status, tables, said = compare("--draws", "5")
    left_out = tables["left_out"].set_index("file")
    assert status == 0
    assert set(left_out["set"]) == {role}
    for name, (_, reason) in BAD.items():
        assert reason in left_out.loc[name, "reason"], name
    assert "cannot be read as NIfTI" in left_out.loc["torn.nii.gz", "reason"]
    assert "its grid is another (22x26x20 voxels of 1x1x1 mm" in left_out.loc["fine.nii.gz", "reason"]
    assert "2 more were left out (left_out.parquet)" in said
    pd.testing.assert_frame_equal(tables["distances"], before)


def empty(folders):
    for path in folders[0].glob("*"):
        path.unlink()


def keep_one(folders):
    for path in sorted(folders[0].glob("*"))[1:]:
        path.unlink()


def move_grid(folders):
    for path in folders[0].glob("*"):
        write(path, make_brain(0), AFFINE + np.array([[0, 0, 0, 1.5], *[[0] * 4] * 3]))


def break_all(folders):
    for path in folders[0].glob("*"):
        write(path, np.full(SHAPE, np.nan, np.float32))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (empty, "there is no NIfTI (.nii, .nii.gz) in it"),
        (keep_one, "1 volumes can be used, and two are the least"),
        (move_grid, "resample one onto the other's grid"),
        (break_all, "0 volumes can be used, and two are the least; sub-12_T1w.nii.gz: 11440 of its voxels"),
    ],
)
@pytest.mark.parametrize("command", ["fidelity compare", "memorization audit"])
def test_a_bad_folder_is_one_sentence(compare, folders, change, sentence, command):
    change(folders)
    status, tables, said = compare(command=command, real="--real" if "compare" in command else "--train")
    assert status == 2
    assert sentence in said.strip().splitlines()[-1]
    assert not tables


def test_a_folder_that_is_missing_or_given_twice_is_one_sentence(folders, capsys):
    generated, _, out = folders
    for real, sentence in (
        (generated, "is given twice"),
        (generated.parent / "none", "there is no such folder"),
    ):
        words = ["--generated", str(generated), "--real", str(real), "--out", str(out)]
        assert main(["fidelity", "compare", *words]) == 2
        assert sentence in capsys.readouterr().err
    words = ["--generated", str(generated), "--real", str(folders[1]), "--out", str(generated / "out")]
    assert main(["fidelity", "compare", *words]) == 2
    assert "lies in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fidelity compare", ["--seed", "-1"]),
        ("memorization audit", ["--seed", str(2**32)]),
        ("memorization audit", ["--held-out", "none", "--contrastive-steps", "-5"]),
    ],
)
def test_a_number_out_of_range_is_one_sentence(compare, command, words):
    status, tables, said = compare(
        *words, command=command, real="--real" if "compare" in command else "--train"
    )
    assert status == 2
    assert words[-2] in said
    assert len(said.strip().splitlines()) == 1
    assert not tables


@pytest.mark.parametrize("command", ["fidelity compare", "memorization audit"])
def test_results_that_would_have_no_place_are_refused_before_the_work(compare, folders, command, monkeypatch):
    folders[2].write_text("a file of mine")
    monkeypatch.setattr("braing3n.apply.judges.folders.VolumeFolder.drop_faulty", None)
    status, _, said = compare(command=command, real="--real" if "compare" in command else "--train")
    assert status == 2
    assert f"{folders[2]}: nothing can be written there" in said


def test_a_model_folders_encoder_sees_the_volumes(made, tmp_path, capsys):
    """Volumes on SRI24's whole grid and on the model's own, which `generate` writes."""
    from braing3n.apply.judges.features import open_model

    _, box = open_model(made[0])
    step = np.reshape(box.step, (3, 3))
    affine = np.eye(4)
    affine[:3, :3] = step
    rng = np.random.default_rng(0)
    for role, margin in (("generated", 0), ("real", 2)):
        shape = tuple(n + 2 * margin for n in box.shape)
        affine[:3, 3] = step @ (np.array(box.start) - margin) + np.array(box.part) * np.sign(np.diag(step))
        for k in range(4):
            array = np.zeros(shape, np.float32)
            inside = tuple(slice(margin + 1, margin + n - 1) for n in box.shape)
            array[inside] = rng.normal(5, 1, tuple(n - 2 for n in box.shape))
            write(tmp_path / role / f"sub-{role}{k}_T1w.nii.gz", array, affine)
    words = ["--generated", str(tmp_path / "generated"), "--model", str(made[0]), "--out"]
    real = ["--real", str(tmp_path / "real"), "--draws", "5"]
    assert main(["fidelity", "compare", *words, str(tmp_path / "out"), *real]) == 0
    found = pd.read_parquet(tmp_path / "out" / "distances.parquet")
    assert found.loc[found["features"] == "MAE, mean token", "value"].notna().sum() >= 3
    assert "coarse voxels" not in set(found["features"])
    train = ["--train", str(tmp_path / "real")]
    assert main(["memorization", "audit", *words, str(tmp_path / "audit"), *train]) == 0
    summary = pd.read_parquet(tmp_path / "audit" / "summary.parquet")
    assert summary["detector"].tolist()[0] == "L2 in the model's latent"
    capsys.readouterr()


def test_inceptions_features_are_of_the_users_file_alone(compare, tmp_path, monkeypatch):
    """Another file stops the command; without the package the row is n/a, under its own name."""
    (tmp_path / "weights.pth").write_bytes(b"none")
    words = ["--draws", "5", "--inception-weights", str(tmp_path / "weights.pth")]
    status, tables, said = compare(*words)
    if find_spec("torch_fidelity"):
        assert status == 2
        assert "its sha256 does not begin with 6726825d" in said
        assert not tables
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    status, tables, _ = compare(*words)
    row = tables["distances"].set_index("quantity").loc["3D-FID"]
    assert status == 0
    assert np.isnan(row["value"])
    assert row["reason"].endswith("pip install '.[fidelity]'")


def test_networks_for_medical_images_stand_under_their_own_names(compare, tmp_path, monkeypatch):
    """Another file stops the command; the right one is asked about whole volumes with the common mask."""
    (tmp_path / "resnet_50.pth").write_bytes(b"none")
    words = ["--draws", "5", "--medicalnet-weights", str(tmp_path / "resnet_50.pth")]
    status, tables, said = compare(*words)
    assert (status, tables) == (2, {})
    assert "its sha256 does not begin with 5b6189ca; get pretrain/resnet_50.pth" in said

    class Whole:
        def encode(self, volumes):
            return np.array([[v.mean(), v[v > 0].std(), v.max()] for v in volumes], np.float32)

    monkeypatch.setattr("braing3n.nets.medical.MedicalNet", lambda path, sha256, device: Whole())
    status, tables, _ = compare(*words)
    found = tables["distances"].set_index(["features", "quantity"])
    assert status == 0
    assert np.isfinite(
        found.loc[("MedicalNet, whole volume", "Fréchet distance"), ["value", "floor"]].to_list()
    ).all()
    assert not found.index.get_level_values(0).str.contains("RadImageNet").any()


def test_axes_and_margins_do_not_matter(tmp_path):
    """One head stored L-P-S, R-A-S, and with a margin is one array."""
    head, folder = make_brain(0), tmp_path / "a"
    write(folder / "sub-1.nii.gz", head)
    turned = AFFINE @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    write(folder / "sub-2.nii.gz", np.ascontiguousarray(head[::-1]), turned)
    wide = AFFINE.copy()
    wide[:3, 3] -= AFFINE[:3, :3] @ [3, 2, 1]
    write(folder / "sub-3.nii.gz", np.pad(head, ((3, 0), (2, 5), (1, 1))), wide)
    write(tmp_path / "b" / "sub-4.nii.gz", head)
    write(tmp_path / "b" / "sub-5.nii.gz", make_brain(5))
    found = open_folders({"generated": folder, "real": tmp_path / "b"})
    assert found["generated"].people.tolist() == ["1", "2", "3"]
    for k in range(3):
        np.testing.assert_array_equal(found["generated"].load(k), found["real"].load(0))
    brain = found["real"].load(0)[found["real"].mask]
    assert brain.mean() == pytest.approx(0, abs=1e-5)
    assert brain.std() == pytest.approx(1, abs=1e-5)


def test_a_lattice_knows_what_lies_on_it():
    whole = Lattice.of(AFFINE, SHAPE)
    moved = AFFINE.copy()
    moved[:3, 3] += AFFINE[:3, :3] @ [5, -2, 7]
    assert whole.fits(Lattice.of(moved, (3, 3, 3)))
    assert np.subtract(Lattice.of(moved, (3, 3, 3)).start, whole.start).tolist() == [5, -2, 7]
    moved[0, 3] += 1.0
    assert not whole.fits(Lattice.of(moved, SHAPE))
    assert not whole.fits(Lattice.of(AFFINE * 1.1, SHAPE))


def test_what_is_read_is_what_nibabel_reads(tmp_path):
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    write(tmp_path / "ras.nii", array, np.diag([2.0, 2, 2, 1]))
    found, _ = read_lps(tmp_path / "ras.nii")
    np.testing.assert_array_equal(found, array[::-1, ::-1])
