"""The command audits reconstructions of training volumes and later forecasts, and infers membership."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import read_table
from braing3n.diffusion.contracts import SAMPLES
from braing3n.fidelity.coarse import CoarseVolumes, write_coarse
from braing3n.longitudinal.contracts import FORECASTS
from braing3n.memorization.command import app
from braing3n.memorization.contracts import COPIES, MEMBERSHIP, MEMORIZATION, PLANTED
from braing3n.memorization.contrastive.audit import TRAINED, UNTRAINED, VOXELS
from braing3n.memorization.detect import Others
from braing3n.volumes.contracts import VOLUME_LIST

BLANKS = {str: "", int: 0, float: np.nan}


def fill(table, contract):
    rest = {name: BLANKS[kind] for name, (kind, _) in contract.items() if name not in table}
    return table.assign(**rest)


def test_a_run_without_samples_of_other_arms_has_no_rows_of_them(tmp_path):
    fill(pd.DataFrame({"sample_id": ["null-0"], "modality": "T1"}), SAMPLES).to_parquet(
        tmp_path / "samples.parquet"
    )
    np.savez(tmp_path / "samples.npz", tokens=np.zeros((1, 4, 3), np.float32))
    write_coarse({"samples": CoarseVolumes(np.array([], int))}, tmp_path / "decoded.npz")
    others = Others.open(tmp_path / "decoded.npz")
    assert (len(others.table), others.tokens.shape) == (0, (0, 4, 3))


def test_the_command_asks_about_everything_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokens = np.random.default_rng(0).normal(size=(12, 4, 3)).astype(np.float16)
    ids = [f"v{k}" for k in range(12)]
    volumes = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    volumes = volumes.assign(split=np.where(np.arange(12) < 8, "train", "test"))
    fill(volumes, VOLUME_LIST).to_parquet("volumes.parquet")
    np.save("tokens.npy", tokens)
    np.savez("samples.npz", tokens=tokens[:3].astype(np.float32) + 1)
    pd.DataFrame({"sample_id": ["a", "b", "c"], "modality": "T1"}).to_parquet("samples.parquet")
    np.savez("coarse.npz", reconstructions_rows=[9, 2], reconstructions_tokens=tokens[[9, 2]])
    forecasts = pd.DataFrame({"forecast_id": ["f0", "f1"], "volume_id": "v9", "person_id": "v9"})
    forecasts = forecasts.assign(group_id="v9", split="test", years=[0.0, 1.0])
    fill(forecasts, FORECASTS).to_parquet("forecasts.parquet")
    np.savez("forecasts.npz", tokens=tokens[[9, 9]].astype(np.float32))
    paths = ["--tokens", "tokens.npy", "--volume-list", "volumes.parquet", "--samples", "samples.npz"]
    paths += ["--distances", "out.parquet", "--coarse", "coarse.npz"]
    paths += ["--forecasts", "forecasts.npz"]
    # Of four samples of control the first is a null set's; the second is a training volume's latent.
    Path("control").mkdir()
    others = pd.DataFrame({"sample_id": ["null-0", "disease-MCI-0", "disease-MCI-1", "disease-PD-0"]})
    fill(others.assign(modality="T1"), SAMPLES).to_parquet("control/samples.parquet")
    theirs = tokens[[0, 5, 10, 11]].astype(np.float32)
    theirs[2:] += 1
    np.savez("control/samples.npz", tokens=theirs)
    np.savez("control/decoded.npz", samples_rows=[1, 2, 3], samples=np.zeros((3, 2, 2, 2), np.float16))
    app(["measure", *paths, "--others", "control/decoded.npz"], result_action="return_value")
    found = read_table("out.parquet", MEMORIZATION)
    own = found[found["pool"] == "T1"].groupby("comparison")["item_id"].agg(list)
    assert own["reconstructed-real"] == ["v2"]
    assert own["forecast-real"] == ["f1"]
    assert found.loc[found["item_id"] == "f1", "group_id"].eq("v9").all()
    rebuilt = found[found["comparison"] == "reconstructed-real"]
    assert (rebuilt["distance"] == 0).all()
    assert own["synthetic-real"] == ["a", "b", "c"]
    assert own["other-arms-real"] == ["disease-MCI-0", "disease-MCI-1", "disease-PD-0"]
    copied = found[found["comparison"] == "other-arms-real"].groupby("item_id").first()
    assert (copied["distance"] == 0).tolist() == [True, False, False]
    assert copied["is_below_threshold"].tolist() == [True, False, False]
    assert copied.loc["disease-MCI-0", "nearest_id"] == "v5"
    membership = read_table("membership.parquet", MEMBERSHIP)
    assert membership["n_samples"].eq(3).all()
    assert set(membership.loc[membership["pool"] == "T1", "comparison"]) == {
        "samples",
        "members only",
        "other arms",
    }
    own = membership[membership["pool"] == "T1"].set_index("comparison")
    assert own.loc["other arms", "auc"] != own.loc["samples", "auc"]


class Packed:
    """Twelve heads of 16 voxels a side, eight of which are trained on, as packed volumes give them."""

    shape = (16, 16, 16)

    def __init__(self, volume_list, volumes_dir):
        self.table = pd.read_parquet(volume_list)
        inside = np.abs(np.random.default_rng(0).normal(300, 200, size=(12, 10, 10, 10))) + 1
        self.levels = np.pad(inside.astype(np.int16), ((0, 0), *[(3, 3)] * 3))

    def __len__(self):
        return 12

    def digest(self):
        return "packed"

    def load_levels(self, i, out):
        out[...] = self.levels[i]
        return np.zeros(0, np.int64), np.zeros(0, np.float32)

    def load(self, i):
        return self.levels[i].astype(np.float32) / 512, self.levels[i] != 0


@pytest.mark.parametrize("is_on", [True, False])
def test_both_copy_detectors_and_planted_copies_are_written_where_volumes_are_given(
    tmp_path, monkeypatch, is_on
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", Packed)
    ids = [f"v{k}" for k in range(12)]
    volumes = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    volumes = volumes.assign(split=np.where(np.arange(12) < 8, "train", "test"))
    fill(volumes, VOLUME_LIST).to_parquet("volumes.parquet")
    tokens = np.random.default_rng(0).normal(size=(12, 4, 3)).astype(np.float16)
    np.save("tokens.npy", tokens)
    np.savez("samples.npz", tokens=tokens[:2].astype(np.float32) + 1)
    pd.DataFrame({"sample_id": ["a", "b"], "modality": "T1"}).to_parquet("samples.parquet")
    heads = Packed("volumes.parquet", None).levels.astype(np.float16) / 512
    decoded = {"samples": heads[[5, 11]], "samples_rows": [0, 1]}
    decoded |= {"reconstructions": heads[[9, 2]], "reconstructions_rows": [9, 2]}
    np.savez("coarse.npz", reconstructions_tokens=tokens[[9, 2]], **decoded)
    contrastive = {"is_on": is_on, "n_steps": 3, "width": 2, "batch_size": 4}
    settings = json.dumps({"percentile": 10.0, "n_planted": 2, "contrastive": contrastive})
    words = "measure --tokens tokens.npy --volume-list volumes.parquet --samples samples.npz"
    words += " --distances out.parquet --coarse coarse.npz --volumes-dir ."
    app([*words.split(), "--settings", settings], result_action="return_value")
    planted = read_table("planted.parquet", PLANTED)
    copies = read_table("copies.parquet", COPIES)
    assert "planted" not in set(copies["comparison"])
    found = read_table("contrastive.parquet", MEMORIZATION)
    names = {"correlation over shifts and mirrors"}
    if is_on:
        names |= {TRAINED, UNTRAINED, VOXELS}
        own = found[found["pool"] == "T1"].set_index(["comparison", "item_id"])
        for key, volume in ((("synthetic-real", "a"), "v5"), (("reconstructed-real", "v2"), "v2")):
            assert own.loc[key, "nearest_id"] == volume
            assert own.loc[key, "distance"] < 0.01
        assert own.loc[("synthetic-real", "b"), "distance"] > 0.01
        assert ("reconstructed-real", "v9") not in own.index
        seen = list(Path("checkpoints").glob("*/volumes.txt"))
        assert seen[0].read_text().split() == ids
    else:
        assert len(found) == 0
        assert not Path("checkpoints").exists()
    assert set(planted["detector"]) == names
    assert (planted.loc[planted["disguise"] == "none", ["n_asked", "n_found"]] == 2).all(axis=None)
