"""The schedule, the decay, batches in parts, recomputed activations, and libraries that compute wrongly."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braing3n import training
from braing3n.config import OptimiserSettings
from braing3n.errors import ConfigurationError
from braing3n.training.steps import check_cudnn
from braing3n.transformer import Block

sys.path.insert(0, str(Path(__file__).parent))
import tiny

pytestmark = pytest.mark.usefixtures("one_thread")


def test_schedule_warms_up_and_ends_near_zero():
    options = OptimiserSettings(lr=1.0, n_epochs=10, n_warmup_epochs=2)
    rates = [training.compute_learning_rate(step, 100, options) for step in range(100)]
    assert rates[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert rates[60] == pytest.approx(0.5)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 1e-3


def test_patience_counts_epochs():
    def has_stalled(validation, patience):
        run = SimpleNamespace(
            validation=validation, plan=range(300), options=OptimiserSettings(n_epochs=30)
        )  # ten steps an epoch
        return training.has_stalled(run, patience)

    losses = {0: 9.0, 10: 3.0, 20: 4.0, 30: 5.0}
    assert not has_stalled(losses, patience=3)
    assert has_stalled(losses, patience=2)
    assert not has_stalled({0: 9.0}, patience=1)


def test_biases_and_norms_do_not_decay():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    decayed, plain = training.build_optimiser(net, OptimiserSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_recomputed_activations_change_no_bit_and_parts_of_a_batch_no_loss(kind, tmp_path):
    options = {
        "whole": {},
        "recomputed": {"recompute_activations": True},
        "parts": {"n_accumulation_steps": 3},
    }
    losses = {}
    for name, changed in options.items():
        (tmp_path / name).mkdir()
        tiny.train(kind, tmp_path / name, n_epochs=4, **changed)
        losses[name] = tiny.read_losses(tmp_path / name)
    assert np.array_equal(losses["whole"], losses["recomputed"], equal_nan=True)
    assert np.allclose(losses["whole"], losses["parts"], rtol=1e-4, equal_nan=True)  # 4 volumes are 2 + 1 + 1


def test_recomputation_saves_memory():
    """What the forward pass keeps for the backward pass shrinks."""

    def count_kept(is_recomputed):
        blocks = torch.nn.Sequential(*(Block(8, 2, 4.0) for _ in range(4)))
        training.recompute_activations(blocks, OptimiserSettings(recompute_activations=is_recomputed))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            blocks(torch.randn(1, 100, 8))
        return sum(sizes)

    assert count_kept(True) < count_kept(False) / 5


@pytest.mark.parametrize(
    ("version", "is_refused"), [(91002, True), (91400, True), (91500, False), (90800, False)]
)
def test_cudnn_that_convolves_wrongly_is_refused(version, is_refused, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    cuda, half, single = torch.device("cuda"), OptimiserSettings(), OptimiserSettings(precision="float32")
    convolution = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 3))
    if is_refused:
        with pytest.raises(ConfigurationError, match=r"cuDNN 9\.1.* install cuDNN 9\.15"):
            check_cudnn(convolution, half, cuda)
    else:
        check_cudnn(convolution, half, cuda)
    check_cudnn(convolution, single, cuda)
    check_cudnn(convolution, half, torch.device("cpu"))
    check_cudnn(torch.nn.Linear(1, 1), half, cuda)
