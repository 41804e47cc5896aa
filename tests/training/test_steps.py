"""The schedule, the decay, batches in parts, recomputed activations, and libraries that compute wrongly."""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braing3n import training
from braing3n.config import OptimiserSettings
from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import has_bfloat16, has_matrix_units
from braing3n.nets.transformer import Block
from braing3n.tokenizer.model import ResidualBlock
from braing3n.training import steps
from braing3n.training.steps import check_cudnn

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from reference import list_rates, train_plainly

pytestmark = pytest.mark.usefixtures("one_thread")


def test_schedule_warms_up_and_ends_near_zero():
    options = OptimiserSettings(lr=1.0, n_epochs=10, n_warmup_epochs=2)
    rates = [training.compute_learning_rate(step, 100, options) for step in range(100)]
    assert rates[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert rates[60] == pytest.approx(0.5)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("clip", [0.0, 2.0, 100.0])
def test_an_update_applies_the_schedule_and_clips_the_gradient(clip):
    """Plain descent moves by rate times gradient: its direction kept, its length at most the clip's."""
    options = OptimiserSettings(lr=0.5, n_epochs=10, n_warmup_epochs=2, gradient_clip=clip)
    run = SimpleNamespace(options=options, plan=range(50))
    net = torch.nn.Linear(3, 1, bias=False)
    gradient = torch.tensor([[2.0, -6.0, 9.0]])  # of length 11
    clipped = gradient * (min(1.0, clip / 11) if clip else 1.0)
    optimiser = torch.optim.SGD(net.parameters(), lr=9.9)
    for step, rate in (
        (0, 0.05),
        (4, 0.25),
        (10, 0.5),
        (30, 0.25),
        (40, 0.5 * (1 + np.cos(0.75 * np.pi)) / 2),
    ):
        before, net.weight.grad = net.weight.detach().clone(), gradient.clone()
        training.update(run, optimiser, net, step)
        torch.testing.assert_close(before - net.weight.detach(), rate * clipped, rtol=1e-4, atol=1e-6)
        assert net.weight.grad is None


def test_slow_parts_learn_at_their_share_of_the_rate():
    """Of a sum of equal layers each moves by its own rate; a first step of AdamW is the rate itself."""
    options = OptimiserSettings(lr=0.1, weight_decay=0.0, n_epochs=4, n_warmup_epochs=0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    optimiser = training.build_optimiser(net, options, [net[0]], 0.25)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    training.update(SimpleNamespace(options=options, plan=range(40)), optimiser, net, 0)
    for name, parameter in net.named_parameters():
        rate = 0.025 if name.startswith("0.") else 0.1
        torch.testing.assert_close(before[name] - parameter.detach(), torch.full_like(parameter, rate))


def test_a_constant_schedule_keeps_its_peak_after_the_warm_up():
    options = OptimiserSettings(lr=0.3, n_epochs=10, n_warmup_epochs=1, schedule="constant")
    rates = [training.compute_learning_rate(step, 50, options) for step in range(50)]
    assert rates[:5] == pytest.approx([0.06, 0.12, 0.18, 0.24, 0.3])
    assert rates[5:] == [0.3] * 45
    without = options.model_copy(update={"n_warmup_epochs": 0})
    assert [training.compute_learning_rate(step, 50, without) for step in range(50)] == [0.3] * 50


def test_a_part_of_an_epoch_can_be_warm_up():
    options = OptimiserSettings(lr=1.0, n_epochs=7, n_warmup_epochs=0.5)
    rates = [training.compute_learning_rate(step, 140, options) for step in range(140)]  # 20 steps an epoch
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert max(rates[11:]) < 1


def test_schedule_is_the_one_written_anew():
    options = OptimiserSettings(lr=3e-4, n_epochs=7, n_warmup_epochs=2)
    rates = [training.compute_learning_rate(step, 35, options) for step in range(35)]
    assert rates == pytest.approx(list_rates(35, 10, 3e-4), rel=1e-12)
    without = options.model_copy(update={"n_warmup_epochs": 0})
    rates = [training.compute_learning_rate(step, 35, without) for step in range(35)]
    assert rates == pytest.approx(list_rates(35, 0, 3e-4), rel=1e-12)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_updates_are_those_of_adamw_written_anew(clip):
    """Schedule, clipping of the whole norm, decay of matrices alone and both betas, over 12 steps."""
    options = OptimiserSettings(
        lr=0.05, weight_decay=0.3, betas=(0.8, 0.9), n_epochs=6, n_warmup_epochs=2, gradient_clip=clip
    )
    x, y = torch.randn(12, 5, 4), torch.randn(12, 5, 1)
    scales = torch.logspace(-1, 2, 12)  # gradients below and above the clip, which then grow
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 1))]
    nets.append(copy.deepcopy(nets[0]))

    def measure_loss(net, step):
        return scales[step] * (net(x[step]) - y[step]).square().mean()

    expected = list(train_plainly(nets[0], lambda step: measure_loss(nets[0], step), 12, options))
    run = SimpleNamespace(options=options, plan=range(12))
    optimiser, found = training.build_optimiser(nets[1], options), []
    for step in range(12):
        loss = measure_loss(nets[1], step)
        loss.backward()
        training.update(run, optimiser, nets[1], step)
        found.append(loss.item())
    assert found == pytest.approx(expected, rel=1e-4)
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize(
    ("text", "is_warned"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512bw\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("Features\t: fp asimd\n", True),
        ("", False),  # a system that does not say
    ],
)
def test_bfloat16_without_units_is_warned_of_once_and_used(text, is_warned, tmp_path, monkeypatch, capsys):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(f"processor\t: 0\n{text}\nprocessor\t: 1\n{text}")
    monkeypatch.setattr(steps, "has_bfloat16", lambda: has_bfloat16(tmp_path))
    steps.warn_of_emulation.cache_clear()
    for precision in ("float32", "bfloat16", "bfloat16"):
        with steps.autocast(torch.device("cpu"), OptimiserSettings(precision=precision)):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == getattr(torch, precision)
    steps.warn_of_emulation.cache_clear()
    assert capsys.readouterr().err.count("no units for bfloat16") == is_warned


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n", torch.bfloat16),
        ("flags\t\t: fpu avx512f avx512_bf16\n", torch.float32),
        ("Features\t: fp asimd bf16\n", torch.float32),
        ("", torch.float32),
    ],
)
def test_automatic_precision_is_bfloat16_where_a_processor_has_matrix_units(
    text, precision, tmp_path, monkeypatch, capsys
):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(f"processor\t: 0\n{text}")
    monkeypatch.setattr(steps, "has_matrix_units", lambda: has_matrix_units(tmp_path))
    monkeypatch.setattr(steps, "has_bfloat16", lambda: True)
    options = OptimiserSettings(precision="auto")
    with steps.autocast(torch.device("cpu"), options):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == precision
    assert steps.uses_bfloat16(torch.device("cuda"), options)
    assert not steps.uses_bfloat16(torch.device("mps"), options)


def test_biases_and_norms_do_not_decay():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    decayed, plain = training.build_optimiser(net, OptimiserSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]


@pytest.mark.slow
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


NAMES = {
    "mae": "MaskedAutoencoder",
    "tokenizer": "Tokenizer",
    "dit": "DiT",
    "bridge": "Bridge",
    "akl": "Baseline",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_compiled_blocks_follow_the_same_losses(kind, tmp_path, monkeypatch):
    # The compiler's own code generator takes minutes; all before it is the same.
    given = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda net, **more: compiled.append(given(net, backend="aot_eager", **more)),
    )
    losses, compiled = {}, []
    for is_compiled in (False, True):
        folder = tmp_path / str(is_compiled)
        folder.mkdir()
        weights = tiny.train(kind, folder, n_epochs=4, compile_blocks=is_compiled)
        losses[is_compiled] = tiny.read_losses(folder), sorted(training.read_weights(weights, NAMES[kind])[0])
    assert compiled
    assert np.allclose(losses[True][0], losses[False][0], rtol=1e-5, equal_nan=True)
    assert losses[True][1] == losses[False][1]


@pytest.mark.slow
def test_no_width_and_no_ragged_batch_is_left_uncompiled(monkeypatch):
    given = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net, **more: given(net, backend="eager", **more))
    blocks = [ResidualBlock(width) for width in (4, 8, 12, 16)]
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=8):
        training.compile_blocks(blocks, OptimiserSettings(compile_blocks=True))
        for n, has_gradients in ((2, False), (3, False), (2, True), (3, True)):
            with torch.set_grad_enabled(has_gradients):
                for block in blocks:  # raises where dynamo gives up
                    volume = torch.randn(n, block.convolve1.in_channels, 4, 4, 4)
                    assert torch.allclose(block(volume), volume)  # blocks start as the identity


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


@pytest.fixture
def flags():
    """The flags of GPUs that `prepare_device` may set, put back afterwards."""

    def read():
        cudnn = torch.backends.cudnn
        return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark

    before = read()
    yield read
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def test_only_a_gpu_multiplies_float32_coarsely(flags):
    before = flags()
    training.prepare_device(torch.device("cpu"))
    assert flags() == before
    training.prepare_device(torch.device("cuda"))
    assert flags() == ("high", True, True)


def test_kernels_lie_channels_last_only_on_a_gpu():
    net = torch.nn.Conv3d(2, 4, 3)
    given = net.weight.clone()
    assert training.arrange_channels(net, torch.device("cpu")).weight.is_contiguous()
    arranged = training.arrange_channels(net, torch.device("cuda")).weight
    assert arranged.is_contiguous(memory_format=torch.channels_last_3d)
    assert not arranged.is_contiguous()
    assert torch.equal(arranged, given)
