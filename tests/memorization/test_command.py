"""The command audits reconstructions of training volumes and later forecasts, and infers membership."""

from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.diffusion.contracts import SAMPLES
from braing3n.fidelity.coarse import CoarseVolumes, write_coarse
from braing3n.longitudinal.contracts import FORECASTS
from braing3n.memorization.command import app
from braing3n.memorization.contracts import MEMBERSHIP, MEMORIZATION
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
