"""What is audited beside samples: which rows of a run's files, and whose they are."""

import numpy as np
import pandas as pd
import pytest

from braing3n.diffusion.contracts import SAMPLES
from braing3n.longitudinal.contracts import FORECASTS
from braing3n.memorization.other_volumes import open_forecasts, open_other_arms, open_reconstructions

BLANKS = {str: "", int: 0, float: np.nan, bool: False}
VOLUMES = pd.DataFrame(
    {
        "volume_id": ["a", "b", "c", "d"],
        "person_id": ["p", "q", "r", "s"],
        "group_id": ["g", "h", "i", "j"],
        "modality": ["T1", "T2", "T1", "T1"],
        "split": ["train", "train", "test", "validation"],
    }
)


def write(path, contract, **columns):
    table = pd.DataFrame(columns)
    rest = {name: BLANKS[kind] for name, (kind, _) in contract.items() if name not in table}
    table.assign(**rest).to_parquet(path)


@pytest.fixture
def folder(tmp_path):
    """Arrays whose every number is the row that it belongs to."""
    rows = np.arange(6.0)
    tokens = np.broadcast_to(rows[:, None, None], (6, 4, 3)).astype(np.float32)
    for name in ("samples", "forecasts"):
        np.savez(tmp_path / f"{name}.npz", tokens=tokens)
    arrays = {}
    for name, order in {
        "samples": [4, 1],
        "forecasts": [5, 0, 3, 2, 1, 4],
        "reconstructions": [3, 1, 0],
    }.items():
        volumes = np.broadcast_to(np.array(order)[:, None, None, None], (len(order), 2, 2, 2))
        arrays |= {f"{name}_rows": np.array(order), name: volumes.astype(np.float16)}
    again = 10 + np.array([3, 1, 0])[:, None, None] + np.zeros((3, 4, 3))
    np.savez(tmp_path / "decoded.npz", reconstructions_tokens=again.astype(np.float16), **arrays)
    return tmp_path


def read(one):
    """The rows of the tokens and of the volumes, by their content."""
    tokens, volumes = one.tokens.read(), one.volumes.read()
    assert volumes.dtype == np.float16
    return tokens[:, 0, 0].tolist(), volumes[:, 0, 0, 0].tolist()


def test_a_forecast_later_than_0_years_stands_with_its_person_and_modality(folder):
    write(
        folder / "forecasts.parquet",
        FORECASTS,
        forecast_id=["d-0y", "d-1y", "d-5y", "c-0y", "c-.5y", "b-2y"],
        volume_id=["d", "d", "d", "c", "c", "b"],
        person_id=["s", "s", "s", "r", "r", "q"],
        group_id=["j", "j", "j", "i", "i", "h"],
        split=["test", "test", "test", "test", "test", "train"],
        years=[0.0, 1.0, 5.0, 0.0, 0.5, 2.0],
    )
    found = open_forecasts(folder / "decoded.npz", VOLUMES)
    assert found.items["item_id"].tolist() == ["b-2y", "d-5y", "d-1y", "c-.5y"]
    assert found.items["group_id"].tolist() == ["h", "j", "j", "i"]
    assert found.items["person_id"].tolist() == ["q", "s", "s", "r"]
    assert found.items["modality"].tolist() == ["T2", "T1", "T1", "T1"]
    assert read(found) == ([5, 2, 1, 4], [5, 2, 1, 4])


def test_a_run_without_forecasts_has_none(tmp_path):
    columns = ("forecast_id", "volume_id", "person_id", "group_id", "split")
    empty = {name: np.array([], object) for name in columns}
    write(tmp_path / "forecasts.parquet", FORECASTS, **empty, years=np.array([]))
    np.savez(tmp_path / "forecasts.npz", tokens=np.zeros((0, 4, 3), np.float32))
    np.savez(tmp_path / "decoded.npz", forecasts_rows=np.array([], int), forecasts=np.array([], np.float16))
    found = open_forecasts(tmp_path / "decoded.npz", VOLUMES)
    assert (len(found.items), found.tokens.read().shape, len(found.volumes.read())) == (0, (0, 4, 3), 0)


def test_reconstructions_are_those_of_training_volumes_as_if_nobodys(folder):
    found = open_reconstructions(folder / "decoded.npz", VOLUMES)
    assert found.items["item_id"].tolist() == ["b", "a"]
    assert found.items["modality"].tolist() == ["T2", "T1"]
    assert (found.items[["person_id", "group_id"]] == "").all(axis=None)
    assert read(found) == ([11, 10], [1, 0])


def test_samples_of_other_arms_are_the_rows_that_were_decoded(folder):
    names = [f"s{k}" for k in range(6)]
    write(folder / "samples.parquet", SAMPLES, sample_id=names, modality=["T1"] * 6)
    found = open_other_arms(folder / "decoded.npz")
    assert found.items["item_id"].tolist() == ["s4", "s1"]
    assert (found.items[["person_id", "group_id"]] == "").all(axis=None)
    assert read(found) == ([4, 1], [4, 1])
    np.savez(folder / "decoded.npz", samples_rows=np.array([], int), samples=np.array([], np.float16))
    none = open_other_arms(folder / "decoded.npz")
    assert (len(none.items), none.tokens.read().shape) == (0, (0, 4, 3))
