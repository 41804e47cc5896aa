"""The route follows from four facts, and nothing is done twice."""

import pytest

from braing3n.preprocess.route import RawState, plan_centre, plan_companion


def state(bias=0, stripped=0, space="native"):
    return RawState.from_row(
        {"is_bias_corrected": str(bias), "is_defaced": "1", "is_stripped": stripped, "raw_space": space}
    )


@pytest.mark.parametrize(
    ("facts", "extraction", "steps"),
    [
        ({}, "deepbet", "n4;extract:deepbet;affine"),
        ({"bias": 1}, "hd-bet-v1", "extract:hd-bet-v1;affine"),
        ({"stripped": 1}, "hd-bet-v1", "n4;mask:nonzero;affine"),
        ({"stripped": 1, "space": "mni"}, "deepbet", "n4;mask:nonzero;affine"),
        ({"space": "sri24"}, "deepbet", "n4;extract:deepbet;resample"),
        ({"bias": 1, "stripped": 1, "space": "sri24"}, "deepbet", "mask:nonzero;resample"),
        ({}, "none", "n4;mask:nonzero;affine"),
    ],
)
def test_centre_route(facts, extraction, steps):
    route = plan_centre(state(**facts), extraction)
    assert route.describe(f"extract:{extraction}" if route.has_extraction else "mask:nonzero") == steps


@pytest.mark.parametrize(
    ("own", "centre", "steps"),
    [
        ({}, {}, "n4;rigid:T1;mask:T1;affine"),
        ({"bias": 1, "space": "acpc"}, {"space": "acpc"}, "mask:T1;affine"),
        ({"space": "coregistered"}, {"space": "coregistered"}, "n4;mask:T1;affine"),
        ({"space": "mni"}, {"space": "native"}, "n4;rigid:T1;mask:T1;affine"),
        ({"space": "sri24"}, {"space": "sri24"}, "n4;mask:T1;resample"),
    ],
)
def test_companion_route(own, centre, steps):
    assert plan_companion(state(**own), state(**centre)).describe("deepbet", "T1") == steps
