"""A small atlas made of an invented brain, and what a worker is told and loads."""

import nibabel as nib
import pytest

from braing3n.config import PreprocessSettings
from braing3n.core.runtime import digest_file, set_threads

from .brains import ATLAS_CENTRE, ATLAS_SHAPE, ATLAS_SPACING_MM, centred_affine, sample

set_threads(1)  # before ANTs is imported: more threads are not reproducible


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
    """What a worker is told, with a store of its own."""
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
