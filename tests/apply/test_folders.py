"""Folders that are judged: whose their volumes are, and names and files that would do harm."""

import json
import os

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.apply.judges.folders import list_volumes
from braing3n.cli import main


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("a.nii.gz", "b.nii.gz"), ["a", "b"]),
        (("sub-07/anat/x.nii", "sub-07/anat/y.nii", "sub-08/x.nii"), ["07", "07", "08"]),
        (("anna/t1.nii", "ben/t1.nii.gz"), ["anna/t1", "ben/t1"]),
        (("sub-07/sub-09_T1w.nii", "z.nii"), ["09", "z"]),
    ],
)
def test_a_folder_above_the_one_that_is_judged_names_nobody(tmp_path, names, people):
    """Else all volumes of a project that is called `sub-cortex`, or all named `t1`, would be one person's."""
    folder = tmp_path / "sub-cortex" / "sub-01"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4)), folder / name)
    assert list_volumes("real", folder).people.tolist() == people


SHAPE = (12, 12, 12)
BRAIN = np.pad(np.ones((8, 8, 8), bool), 2)


@pytest.fixture
def folders(tmp_path):
    """Six volumes of training people and four generated ones, at 8 mm."""
    rng = np.random.default_rng(0)
    for role, n in (("train", 6), ("generated", 4)):
        (tmp_path / role).mkdir()
        for k in range(n):
            brain = np.where(BRAIN, rng.normal(100, 10, SHAPE), 0).astype(np.float32)
            nib.save(
                nib.Nifti1Image(brain, np.diag([8.0, 8, 8, 1])), tmp_path / role / f"{role[0]}{k}.nii.gz"
            )
    return tmp_path


def audit(folders, *words, train="train", out="out"):
    paths = {"generated": folders / "generated", "train": folders / train, "out": folders / out}
    given = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return main(["memorization", "audit", *given, *words])


def test_names_of_any_bytes_are_written_and_command_no_terminal(folders, capsys):
    own = os.fsencode(folders / "generated")
    os.rename(own + b"/g0.nii.gz", own + b"/\xe4=cmd.nii.gz")
    (folders / "generated" / "a\nresults in \x1b[31m.nii.gz").write_bytes(b"torn")
    assert audit(folders) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "a\\nresults in \\x1b[31m.nii.gz: it cannot be read" in said.err
    left_out = pd.read_parquet(folders / "out" / "left_out.parquet").set_index("file")["reason"]
    assert set(left_out.index) == {"\\xe4=cmd.nii.gz", "a\nresults in \x1b[31m.nii.gz"}
    assert left_out["\\xe4=cmd.nii.gz"] == "its name is no UTF-8; rename it"


def test_a_pipe_is_left_out_and_not_waited_for(folders, capsys):
    os.mkfifo(folders / "generated" / "pipe.nii")
    assert audit(folders) == 0
    assert "pipe.nii: it is no file" in capsys.readouterr().err


@pytest.mark.parametrize(("train", "held_out"), [(".", None), ("train", "train/more"), ("train", "train")])
def test_folders_that_share_volumes_are_refused(folders, capsys, train, held_out):
    """Else generated volumes would be training volumes, too."""
    (folders / "train" / "more").mkdir()
    words = ["--held-out", str(folders / held_out)] if held_out else []
    assert audit(folders, *words, train=train, out="../out") == 2
    said = capsys.readouterr().err
    shared = folders / (held_out or "generated")
    assert (
        f"{shared}: is given twice" in said
        if held_out == train
        else f"{shared}: lies in {folders / train}" in said
    )


def test_results_of_another_command_are_not_overwritten(folders, capsys):
    assert audit(folders) == 0
    before = (folders / "out" / "left_out.parquet").read_bytes()
    words = ["--generated", str(folders / "generated"), "--real", str(folders / "train")]
    assert main(["fidelity", "compare", *words, "--out", str(folders / "out")]) == 2
    assert "holds the results of `memorization audit`; give another folder" in capsys.readouterr().err
    assert (folders / "out" / "left_out.parquet").read_bytes() == before
    assert json.loads((folders / "out" / "judged.json").read_text())["Sets"]["train"]["Volumes"] == 6
    (folders / "out" / "contrastive.parquet").write_bytes(b"of an audit with a detector")
    assert audit(folders) == 0
    assert not (folders / "out" / "contrastive.parquet").exists()


def test_linked_folders_are_read_and_hidden_ones_are_not(folders):
    """A dataset of DataLad holds each file's content once more in a hidden folder."""
    (folders / "generated").rename(folders / "store")
    hidden = folders / "generated" / ".git" / "annex" / "g0.nii.gz"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes((folders / "store" / "g0.nii.gz").read_bytes())
    (folders / "generated" / "sub-1").symlink_to(folders / "store")
    (folders / "store" / "loop").symlink_to(folders / "store")
    (folders / "generated" / "gone.nii.gz").symlink_to(folders / "nowhere")
    found = list_volumes("generated", folders / "generated")
    assert found.names == [f"sub-1/g{k}.nii.gz" for k in range(4)]
    assert found.left_out == [("gone.nii.gz", "a link to nothing")]


def test_scans_of_one_person_give_no_threshold_and_no_count(folders, capsys):
    for k, path in enumerate(sorted((folders / "train").iterdir())):
        path.rename(folders / "train" / f"sub-1_run-{k}.nii.gz")
    assert audit(folders) == 0
    found = pd.read_parquet(folders / "out" / "summary.parquet")
    assert found["n_flagged_synthetic_real"].isna().all()
    assert set(found["is_more_than_expected"]) == {"n/a"}
    assert "no threshold: --train has no two people" in capsys.readouterr().err


@pytest.mark.parametrize("n", [2, 3])
def test_a_distance_of_two_or_three_people_has_no_floor(folders, capsys, n):
    for path in sorted((folders / "train").iterdir())[n:]:
        path.unlink()
    words = ["--generated", str(folders / "generated"), "--real", str(folders / "train")]
    assert main(["fidelity", "compare", *words, "--out", str(folders / "out")]) == 0
    found = pd.read_parquet(folders / "out" / "distances.parquet").set_index(["quantity", "features"])
    row = found.loc[("Fréchet distance", "coarse voxels")]
    assert np.isfinite(row["value"])
    assert np.isnan(row["floor"])
    assert row["against_floor"] == "n/a"
    assert "no floor with fewer than two generated or four real people" in capsys.readouterr().err
