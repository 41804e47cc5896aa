"""The command audits reconstructions, other arms and forecasts beside samples, and infers membership."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import read_table
from braing3n.diffusion.contracts import SAMPLES
from braing3n.longitudinal.contracts import FORECASTS
from braing3n.memorization.command import app
from braing3n.memorization.contracts import COPIES, MEMBERSHIP, MEMORIZATION, PLANTED
from braing3n.memorization.contrastive.audit import TRAINED, UNTRAINED, VOXELS
from braing3n.volumes.contracts import VOLUME_LIST

BLANKS = {str: "", int: 0, float: np.nan}


def fill(table, contract):
    rest = {name: BLANKS[kind] for name, (kind, _) in contract.items() if name not in table}
    return table.assign(**rest)


def write_forecasts(rows, tokens, volumes):
    """Forecasts (id, whose volume, years), their tokens and their decoded volumes, as a run leaves them."""
    table = pd.DataFrame(rows, columns=["forecast_id", "volume_id", "years"])
    table = table.assign(person_id=table["volume_id"], group_id=table["volume_id"], split="test")
    Path("longitudinal").mkdir()
    fill(table, FORECASTS).to_parquet("longitudinal/forecasts.parquet")
    np.savez("longitudinal/forecasts.npz", tokens=tokens.astype(np.float32))
    volumes = volumes.astype(np.float16)
    np.savez("longitudinal/decoded.npz", forecasts_rows=np.arange(len(table)), forecasts=volumes)


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
    write_forecasts([("f0", "v9", 0.0), ("f1", "v9", 1.0)], tokens[[9, 9]], np.zeros((2, 2, 2, 2)))
    paths = ["--tokens", "tokens.npy", "--volume-list", "volumes.parquet", "--samples", "samples.npz"]
    paths += ["--distances", "out.parquet", "--coarse", "coarse.npz"]
    paths += ["--forecasts", "longitudinal/decoded.npz"]
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
    # Two forecasts of a held-out person, and one that belongs to the group of the training volume it equals.
    forecasts = [("f0", "v9", 0.0), ("f1", "v9", 1.0), ("own", "v5", 2.0)]
    write_forecasts(forecasts, tokens[[9, 5, 5]], heads[[9, 5, 5]])
    words += " --forecasts longitudinal/decoded.npz"
    app([*words.split(), "--settings", settings], result_action="return_value")
    planted = read_table("planted.parquet", PLANTED)
    copies = read_table("copies.parquet", COPIES)
    assert "planted" not in set(copies["comparison"])
    found = read_table("contrastive.parquet", MEMORIZATION)
    audits = [read_table("out.parquet", MEMORIZATION), copies, *([found] if is_on else [])]
    for audit in audits:
        later = audit[audit["comparison"] == "forecast-real"].drop_duplicates("item_id").set_index("item_id")
        assert later["person_id"].to_dict() == {"f1": "v9", "own": "v5"}
        assert later.loc["f1", "nearest_id"] == "v5"
        assert later.loc["own", "nearest_id"] != "v5"
    assert copies.loc[copies["item_id"] == "f1", "correlation"].item() > 0.99
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
