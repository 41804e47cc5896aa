"""The atlas's regions on a models' box: where they lie, on coarse and on fine voxels, and what lacks them."""

import json

import numpy as np
import pytest

from braing3n.config import ResourceSettings
from braing3n.longitudinal.contracts import REGIONS
from braing3n.longitudinal.regions import find_regions
from braing3n.volumes.pack import locate_grid
from braing3n.volumes.settings import VolumesSettings

SHAPE = (40, 48, 40)


@pytest.fixture
def find(fetch_resource, tmp_path):
    """A function: spacing, shape -> masks, reasons, and each voxel's place (3, D, H, W) in mm, RAS."""

    def run(spacing_mm, shape, wheel=None):
        wheel = wheel or fetch_resource("brain-templates")
        grid = VolumesSettings(spacing_mm=spacing_mm, shape=shape)
        sections = {"volumes": grid.as_json(), "preprocess": json.dumps({"spacing_mm": spacing_mm})}
        sections["resources"] = ResourceSettings(paths={"brain-templates": str(wheel)}).as_json()
        for name, text in sections.items():
            (tmp_path / f"{name}.json").write_text(text)
        index = np.stack([*np.indices(shape), np.ones(shape)])
        return *find_regions(tmp_path), np.tensordot(locate_grid(grid, spacing_mm), index, 1)[:3]

    return run


def test_regions_lie_where_their_names_say(find):
    masks, reasons, places = find(4.0, SHAPE)
    assert list(masks) == list(REGIONS)
    assert reasons == {}
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1, "no voxel is in two"
    brain = places[:, masks["cortex"]].mean(axis=1)
    middle = {name: places[:, mask].mean(axis=1) - brain for name, mask in masks.items()}
    for name, offset in middle.items():
        assert abs(offset[0]) < 3, name  # as much of it on the left as on the right
    assert middle["cerebellum"][1] < -25
    assert middle["cerebellum"][2] < -35
    assert middle["medial temporal"][2] < -20
    for name in ("ventricles", "deep grey"):
        assert np.linalg.norm(middle[name]) < 30
    n_ml = {name: mask.sum() * 0.064 for name, mask in masks.items()}
    assert 10 < n_ml["ventricles"] < 80
    assert n_ml["cortex"] > 2 * n_ml["cerebellum"]
    assert min(n_ml.values()) > 2


def test_fine_voxels_have_the_masks_of_the_coarser_ones_that_are_segmented(find):
    masks, _, _ = find(1.0, (160, 192, 160))
    wide, _, _ = find(4.0, SHAPE)
    for name, mask in masks.items():
        assert mask.shape == (160, 192, 160)
        cubes = mask.reshape(80, 2, 96, 2, 80, 2).sum(axis=(1, 3, 5))
        assert set(np.unique(cubes)) == {0, 8}
        share = mask.reshape(40, 4, 48, 4, 40, 4).mean(axis=(1, 3, 5))
        assert np.corrcoef(share.ravel(), wide[name].ravel())[0, 1] > 0.7, name


def test_a_box_without_a_region_and_templates_that_are_not_there_are_reasons(find, tmp_path):
    masks, reasons, _ = find(4.0, (8, 8, 8))
    assert set(masks) | set(reasons) == set(REGIONS)
    assert reasons["cerebellum"] == "outside the models' box"
    masks, reasons, _ = find(4.0, SHAPE, tmp_path / "nowhere.whl")
    assert masks == {}
    assert set(reasons) == set(REGIONS)
    assert all("nowhere.whl" in reason for reason in reasons.values())
