"""A small atlas made of an invented brain, and what a worker is given and loads."""

import json

import ants
import nibabel as nib
import numpy as np
import pytest

from braing3n.config import PreprocessSettings
from braing3n.core.runtime import digest_file, set_threads

from .brains import ATLAS_CENTRE, ATLAS_SHAPE, ATLAS_SPACING_MM, centred_affine, sample

# More threads are not reproducible. ITK takes their number at its first filter, for as long as the process
# lives, and a command that another folder's test runs may ask for more.
set_threads(1)
ants.smooth_image(ants.from_numpy(np.zeros((8, 8, 8), np.float32)), 1.0)


@pytest.fixture(scope="session")
def atlas_path(tmp_path_factory):
    """The invented brain in SRI24's box, at 4 mm."""
    affine = centred_affine(ATLAS_SHAPE, ATLAS_SPACING_MM)
    data = sample(affine, ATLAS_SHAPE)
    affine[:3, 3] += ATLAS_CENTRE
    path = tmp_path_factory.mktemp("atlas") / "atlas.nii"
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture(scope="session")
def settings():
    """Settings of the invented world, where every head is a brain already."""
    return PreprocessSettings(
        spacing_mm=ATLAS_SPACING_MM,
        brain_extraction="none",
        n4_iterations=(10, 10),
        affine="Affine",  # the stages end at half the atlas's resolution: fine at 1 mm, not at 4
    )


@pytest.fixture
def job(tmp_path, atlas_path, settings):
    """What a worker is given, with a store of its own."""
    from braing3n.preprocess.shard import Job

    return Job(tmp_path / "store", settings, atlas_path, digest_file(atlas_path), None)


@pytest.fixture(scope="session")
def tools(atlas_path, settings):
    """What a worker loads where whole heads are stripped; no stripped brain may reach the extractor."""
    from braing3n.preprocess.fit import Tools
    from braing3n.preprocess.space.grid import load_atlas

    def refuse(scan):
        raise AssertionError("a stripped brain was stripped again")

    stripping = settings.model_copy(update={"brain_extraction": "deepbet"})
    return Tools(stripping, load_atlas(atlas_path, settings.spacing_mm), refuse)


def run_here(visits, job, n_workers, tell):
    """Stand in for the pool of processes, whose start takes longer than the work on an invented brain."""
    from braing3n.core.runtime import listen_to_steps
    from braing3n.preprocess import shard

    listen_to_steps(tell)
    for index, visit in list(visits.items()):
        yield index, shard.run_visit(visit, job)
    listen_to_steps(None)


@pytest.fixture
def type_in(tmp_path, atlas_path, settings, monkeypatch, capsys):
    """Type `braing3n preprocess ...` in an empty folder; returns (status, what was printed)."""
    from braing3n.cli import main
    from braing3n.preprocess import shard

    run_pool = shard._run_pool
    monkeypatch.chdir(tmp_path)
    config = {"preprocess": settings.model_dump(mode="json"), "volumes": {"spacing_mm": 4.0}}
    config["resources"] = {"paths": {"sri24": str(atlas_path)}}
    (tmp_path / "small.yaml").write_text(json.dumps(config))

    def go(*words, config="small.yaml", has_workers=False):
        monkeypatch.setattr(shard, "_run_pool", run_pool if has_workers else run_here)
        status = main(["preprocess", *map(str, words), *(["--config", config] if config else [])])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return go
