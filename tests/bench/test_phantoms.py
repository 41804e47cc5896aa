"""The phantom study's claims: of every seed, or of two in three; and its tables."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def phantoms():
    """bench/phantoms.py as a module."""
    spec = importlib.util.spec_from_file_location("bench_phantoms", ROOT / "bench" / "phantoms.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found(phantoms):
    """Three seeds in which every claim holds."""
    tasks = {key: [0.9, 0.88, 0.92] for key in phantoms.MEASURES}
    names = ("MAE", *phantoms.OTHERS, *phantoms.IN_PCA, "d = none, flattened", "d = 32, flattened")
    item = {
        "losses": {
            "zero": 0.3,
            "mean_image": 0.1,
            "modality_mean_image": 0.1,
            "in_painting": 0.08,
            "mae": 0.09,
        },
        "scores": {name: dict(tasks) for name in names},
        "mae_minus": {
            name: {key: [0.05, 0.01, 0.09] for key in phantoms.MEASURES} for name in phantoms.OTHERS
        },
        **{key: {"8": 30.0, "32": 31.0, "128": 32.0} for key in ("psnr_db", "psnr_brain_db", "ssim")},
    }
    return [{"seed": seed, **copy.deepcopy(item)} for seed in (11, 12, 13)]


def test_claims_that_hold_are_no_fault_and_fresh_seeds_are_not_those_of_development(phantoms, found):
    assert phantoms.check(found) == []
    assert not set(phantoms.SEEDS["fresh"]) & set(phantoms.SEEDS["development"])


@pytest.mark.parametrize("other", ["untrained", "patches"])
def test_one_seed_of_three_may_miss_a_difference_and_two_may_not(phantoms, found, other):
    found[0]["mae_minus"][other]["sex"] = [0.02, -0.01, 0.05]
    assert phantoms.check(found) == []
    found[2]["mae_minus"][other]["sex"] = [0.02, 0.0, 0.05]
    assert phantoms.check(found) == [f"MAE - {other} on sex: not beyond the interval in seeds 11, 13"]
    found[2]["mae_minus"][other]["sex"] = [0.02, 0.01, 0.05]
    found[1]["mae_minus"][other]["hc_vs_ad"] = found[2]["mae_minus"][other]["hc_vs_ad"] = [0.0, -0.1, 0.1]
    assert phantoms.check(found) == []  # shown, and no claim


def test_every_seed_must_beat_the_mean_image_and_keep_its_bottleneck(phantoms, found):
    found[1]["losses"]["mae"] = 0.101
    found[2]["psnr_db"]["128"] = 30.9
    found[0]["scores"]["d = 32, flattened"]["sex"] = [0.84, 0.8, 0.88]
    faults = phantoms.check(found)
    assert [fault[:7] for fault in faults] == ["seed 11", "seed 12", "seed 13"]
    assert "0.101 where the mean image has 0.1" in faults[1]


def test_tables_hold_each_seed_with_and_without_decoders(phantoms, found):
    text = phantoms.format_tables(found)
    assert "| mae | 0.0900 | 0.0900 | 0.0900 |" in text
    assert "| MAE - patches | +0.050 [+0.010, +0.090] |" in text
    assert "| untrained, flattened | 0.900 [0.880, 0.920] |" in text
    assert "PSNR inside the brain, dB, d = 8 | 30.0 | 30.0 | 30.0 |" in text
    for item in found:
        item |= {"psnr_db": {}, "psnr_brain_db": {}, "ssim": {}}
    assert "PSNR" not in phantoms.format_tables(found)
    assert phantoms.check(found) == []
