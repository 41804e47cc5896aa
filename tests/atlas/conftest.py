"""Phantoms at 4 mm whose tissue is known, and the atlas's maps on their grid."""

import numpy as np
import pytest

from braing3n.atlas.maps import lay_maps
from braing3n.atlas.templates import centred_affine
from braing3n.phantoms.miniature import blur_world
from braing3n.phantoms.people import draw_people
from braing3n.phantoms.scanner import MODALITIES, place_brain, scan_brain

SHAPE, SPACING_MM = (40, 48, 40), 4.0


@pytest.fixture(scope="session")
def maps(fetch_resource):
    """Of the phantoms' grid."""
    return lay_maps(fetch_resource("brain-templates"), SHAPE, centred_affine(SHAPE, SPACING_MM))


@pytest.fixture(scope="session")
def phantoms(fetch_resource):
    """Eight T1 brains: image, mask and the shares of CSF, grey and white matter in the mask, (3, n)."""
    world = blur_world(fetch_resource("brain-templates"), fetch_resource("head-template"), SPACING_MM)
    return [_render(world, person) for person in draw_people(20, 7)[:8]]


def _render(world, person):
    rng = person.rng(2, 0, MODALITIES.index("T1"))
    tissue = place_brain(world, person, 0, SHAPE, SPACING_MM, rng)
    image, mask = scan_brain(world, person, 0, "T1", SHAPE, SPACING_MM)
    grey, white = tissue["gm"][mask], tissue["wm"][mask]
    return image, mask, np.stack([1 - grey - white, grey, white])
