"""The mask is checked, and a failed check tries the other backend once."""

import numpy as np
import pytest

from braing3n.config import PreprocessSettings
from braing3n.core.errors import ScanError
from braing3n.preprocess.brain.extract import extract_brain, load_fall_back
from braing3n.preprocess.read.scan import Volume

SHAPE = (40, 48, 40)
SPACING_MM = 4.0
BRAIN_ML = (400.0, 2500.0)
SCAN = Volume(np.ones(SHAPE, np.float32), np.diag([SPACING_MM] * 3 + [1.0]))


def ball(radius, centre=(20, 24, 20)):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    return np.linalg.norm(index - centre, axis=-1) < radius


GOOD = ball(16)
CUT = ball(16, (20, 24, 35))  # the top of the head is outside the scan
PIECES = ball(15, (20, 16, 20)) | ball(7, (20, 40, 20))
HUGE = ball(60)
NECK = GOOD | ((np.arange(SHAPE[2]) < 20) & ball(4, (20, 24, 20)).any(axis=2)[:, :, None])


def extract(*masks):
    """What comes of backends that find these masks; an error is raised by the backend."""

    def give(mask):
        def find(scan):
            if isinstance(mask, Exception):
                raise mask
            return mask

        return find

    return extract_brain(SCAN, [(f"net{i}", give(mask)) for i, mask in enumerate(masks)], BRAIN_ML)


@pytest.mark.parametrize("mask", [GOOD, NECK])
def test_a_good_mask_asks_nobody_else(mask):
    taken, steps = extract(mask, AssertionError("the second backend was asked"))
    assert np.array_equal(taken, mask)
    assert steps == "extract:net0"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (CUT, "reaches the top border"),
        (PIECES, "of the mask lies apart"),
        (HUGE, "believable are"),
        (ValueError("nothing; nowhere"), "no brain was found (nothing, nowhere)"),
    ],
)
def test_a_bad_mask_is_recorded_and_the_other_backends_is_taken(bad, reason):
    taken, steps = extract(bad, GOOD)
    assert np.array_equal(taken, GOOD)
    failed, found = steps.split(";")
    assert failed.startswith("extract:net0 failed (")
    assert reason in failed
    assert found == "extract:net1"


def test_a_head_that_is_cut_keeps_the_first_mask_and_says_so():
    taken, steps = extract(CUT, CUT & ball(14, (20, 24, 35)))
    assert np.array_equal(taken, CUT)
    assert steps == "extract:net0 (reaches the top border, no better: net1)"
    alone, steps = extract(CUT)
    assert np.array_equal(alone, CUT)
    assert steps == "extract:net0 (reaches the top border)"


def test_a_suspicious_mask_is_better_than_none():
    taken, steps = extract(HUGE, CUT)
    assert np.array_equal(taken, CUT)
    assert steps.startswith("extract:net0 failed (")
    assert steps.endswith("extract:net1 (reaches the top border)")


def test_no_mask_at_all_is_the_first_backends_sentence():
    with pytest.raises(ScanError, match="believable are"):
        extract(HUGE, ValueError("nothing there"))


def test_nothing_falls_back_on_itself():
    assert load_fall_back(PreprocessSettings(brain_extraction="deepbet")) is None
    assert load_fall_back(PreprocessSettings(brain_extraction="none")) is None
    assert load_fall_back(PreprocessSettings(fallback_extraction="none")) is None
    assert load_fall_back(PreprocessSettings()) is not None
