"""The encoder `tissue`, through the command that the DAG runs, on volumes as a shard packs them."""

import numpy as np
import pandas as pd
import pytest

from braing3n.cli import main
from braing3n.config import PreprocessSettings, ResourceSettings, VolumesSettings
from braing3n.phantoms.miniature import render_preprocessed

GRID = VolumesSettings(spacing_mm=4.0, shape=(40, 48, 40))


class Rendered:
    """Phantoms in place of packed volumes."""

    volumes, masks, killed_at, loaded, listed = None, None, -1, (), "of the phantoms"

    def __init__(self, *_):
        self.table = pd.DataFrame({"volume_id": [f"v{i}" for i in range(len(self.volumes))]})

    def __len__(self):
        return len(self.volumes)

    def load(self, i):
        if i == self.killed_at:
            raise Killed
        self.loaded.append(i)
        return self.volumes[i], self.masks[i]

    def digest(self):
        return self.listed


class Killed(BaseException):
    pass


@pytest.fixture
def extract(fetch_resource, tmp_path, monkeypatch):
    """Run the command on some phantoms, of which none is loaded after the killed one: the features."""
    wheels = [fetch_resource(name) for name in ("brain-templates", "head-template")]
    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", Rendered)
    resources = ResourceSettings(paths={"brain-templates": str(wheels[0])})
    sections = {"latents": "{}", "volumes": GRID.as_json(), "resources": resources.as_json()}
    sections["preprocess"] = "{}"
    for name, text in sections.items():
        (tmp_path / f"{name}.json").write_text(text)

    def run(n_people, killed_at=-1, **preprocess):
        changed = PreprocessSettings(spacing_mm=4.0, **preprocess).as_json()
        (tmp_path / "preprocess.json").write_text(changed)
        Rendered.volumes, Rendered.masks, _ = render_preprocessed(n_people, 5, *wheels)
        Rendered.killed_at, Rendered.loaded = killed_at, []
        out = tmp_path / "features.npz"
        given = ["--volume-list", "list.parquet", "--volumes-dir", "volumes", "--features", str(out)]
        given += ["--settings", *(str(tmp_path / f"{name}.json") for name in sections)]
        assert main(["latents", "features", "--name", "tissue", *given]) == 0
        return np.load(out)["features"]

    return run


def test_the_command_writes_volumes_and_shares(extract):
    features = extract(3)
    assert features.shape == (3, 26)
    brain_ml = Rendered.masks.sum(axis=(1, 2, 3)) * 0.064
    assert features[:, :3].sum(axis=1) == pytest.approx(brain_ml, rel=1e-4)
    assert features[:, 13:] * brain_ml[:, None] == pytest.approx(features[:, :13], rel=1e-3)
    assert ((features[:, 14] > 0.4) & (features[:, 14] < 0.65)).all()  # grey matter


def test_a_killed_job_resumes_after_the_volumes_that_it_measured(extract, monkeypatch):
    whole = extract(10)
    assert Rendered.loaded == list(range(10))
    with pytest.raises(Killed):
        extract(10, killed_at=9)
    assert np.array_equal(extract(10), whole)
    assert Rendered.loaded == [8, 9]
    with pytest.raises(Killed):
        extract(10, killed_at=9)
    extract(10, seed=7)
    assert Rendered.loaded == list(range(10)), "of other settings nothing is taken over"
    monkeypatch.setattr(Rendered, "listed", "of others")
    extract(10)
    assert Rendered.loaded == list(range(10)), "of other volumes nothing is taken over"
