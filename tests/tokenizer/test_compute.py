"""What an arm costs to train, against closed forms of its operations."""

import sys
from pathlib import Path

from braing3n.tokenizer.compute import count_arm, describe_arm

sys.path.insert(0, str(Path(__file__).parent))
from small_arm import SIZES, TOKENIZER


def test_operations_in_closed_form():
    """A multiply-add counts two; backward is twice forward, but the first layer's input has no gradient."""
    n, n_visible, width, hidden, n_voxels = 8, 2, 12, 48, 64  # tokens, channels, MLP, voxels of a patch

    def attend(n, n_out):  # n tokens, of which n_out ask and go on
        out = 2 * n_out * (width * width + 2 * width * hidden)
        return 2 * n * 3 * width * width + 4 * n_out * n * width + out

    found = count_arm(SIZES, TOKENIZER, (8, 8, 8))
    assert found["encoder_flops_an_epoch"] == 2 * n * n_voxels * width + attend(n, n)
    first = 2 * n_visible * n_voxels * width
    n_hidden = n - n_visible
    rest = attend(n_visible, n_visible) + 2 * n_visible * width * width
    rest += attend(n, n_hidden) + 2 * n_hidden * n_voxels * width
    assert found["mae_flops_an_epoch"] == 2 * first + 3 * rest


def test_what_was_trained_is_described_by_phase():
    arm = count_arm(SIZES, TOKENIZER, (8, 8, 8))
    whole = describe_arm(SIZES, TOKENIZER, (8, 8, 8), 500.0, 300.0)
    assert whole == {"epochs": "500 + 300", "flops_a_volume": arm["arm_flops"]}
    stopped = describe_arm(SIZES, TOKENIZER, (8, 8, 8), 500.0, 120.0)
    assert stopped["epochs"] == "500 + 120 of 300"
    phase_2 = arm["encoder_flops_an_epoch"] + arm["tokenizer_flops_an_epoch"]
    assert whole["flops_a_volume"] - stopped["flops_a_volume"] == 180 * phase_2
