"""Changed sets of phantom brains are found among half-splits of people, and a flip is seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import binom

from braing3n.apply.judges.compare import Comparison, measure_sets
from braing3n.apply.judges.features import VOXELS, Feature
from braing3n.atlas.templates import centred_affine
from braing3n.encoders.voxels import average_voxels
from braing3n.phantoms.miniature import blur_world, render_brain
from braing3n.phantoms.people import draw_people
from braing3n.phantoms.picture import find_left_marker

SHAPE, SPACING_MM = (40, 48, 40), 4.0
N_GENERATED, N_REAL = 24, 48  # so that the floor's draws are half-splits of the real people
FEATURE = Feature(VOXELS, lambda volume: average_voxels(volume, volume != 0)[None])
ASKED = Comparison(Path("generated"), Path("real"), Path("out"))


@pytest.fixture(scope="module")
def brains(fetch_resource):
    """Healthy people of 25 to 40 years, and the first of them 40 years older: (volumes, masks) each."""
    world = blur_world(fetch_resource("brain-templates"), fetch_resource("head-template"), SPACING_MM)
    people = [person for person in draw_people(160, 4) if person.dx == "HC"][: N_GENERATED + N_REAL]
    ages = np.random.default_rng(0).uniform(25, 40, len(people))
    young = [replace(person, age_years=age) for person, age in zip(people, ages, strict=True)]
    old = [replace(person, age_years=person.age_years + 40) for person in young[:N_GENERATED]]
    sets = {"generated": young[:N_GENERATED], "real": young[N_GENERATED:], "old": old}
    return {
        name: [render_brain(world, person, 0, SHAPE, SPACING_MM) for person in part]
        for name, part in sets.items()
    }


def standardise(volume, mask):
    inside = volume[mask]
    return np.where(mask, (volume - inside.mean()) / inside.std(), 0).astype(np.float32)


def blur(volume):
    return ndimage.gaussian_filter(volume, 0.7)


CHANGES = {
    "same": lambda volume, rng: volume,
    "blurred": lambda volume, rng: blur(volume),
    "sharpened": lambda volume, rng: 2 * volume - blur(volume),
    "noisy": lambda volume, rng: volume + rng.normal(0, 0.7, volume.shape),
    "of a wrong age": lambda volume, rng: volume,
}


def compare(generated, real):
    """The rows of the Fréchet distance, KID and MMD, by quantity: 100 half-splits of the real people."""
    assert ASKED.n_draws == 100
    people = np.arange(len(generated)), 1000 + np.arange(len(real))
    rows = measure_sets(FEATURE, (np.stack(generated), np.stack(real)), people, ASKED)
    return {row["quantity"]: row for row in rows if "against_floor" in row}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_set_exceeds_the_95th_percentile_of_100_half_splits_of_people(brains, name):
    rng = np.random.default_rng(1)
    given = brains["old" if name == "of a wrong age" else "generated"]
    generated = [FEATURE.compute(standardise(CHANGES[name](volume, rng), mask)) for volume, mask in given]
    found = compare(generated, [FEATURE.compute(volume) for volume, _ in brains["real"]])
    for quantity in ("KID", "MMD"):
        row = found[quantity]
        assert row["n_dealt"] == N_REAL // 2
        assert (row["matched"] > row["floor_95"]) == (name != "same"), (quantity, row)
        assert row["against_floor"] == ("within" if name == "same" else "above")


def test_people_in_the_place_of_generated_volumes_lie_above_at_the_stated_rate_or_less():
    """Of 100 sets of 20 people of one law, held against 40 others: 5 % is the rate of one draw of people."""
    n_above = dict.fromkeys(("Fréchet distance", "KID", "MMD"), 0)
    rng = np.random.default_rng(2)
    for _ in range(100):
        found = compare(rng.normal(size=(20, 1, 6)), rng.normal(size=(40, 1, 6)))
        for quantity in n_above:
            n_above[quantity] += found[quantity]["against_floor"] == "above"
    for quantity, n in n_above.items():
        assert binom.sf(n - 1, 100, 0.05) > 0.001, (quantity, n)
    assert sum(n_above.values()) > 0, "the percentile is reached"


def test_a_flipped_set_is_found_by_the_left_marker(brains):
    """As a decoder leaves volumes, a little blurred and noisy; without a flip none is on the right."""
    rng, affine = np.random.default_rng(3), centred_affine(SHAPE, SPACING_MM)
    decoded = [
        ndimage.gaussian_filter(volume, 0.4) + rng.normal(0, 0.1, SHAPE) for volume, _ in brains["generated"]
    ]
    for volumes, side in ((decoded, "left"), ([volume[::-1] for volume in decoded], "right")):
        found = [find_left_marker(volume, affine) for volume in volumes]
        assert found.count(side) >= 0.9 * N_GENERATED, found
