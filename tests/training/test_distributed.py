"""Several processes, on one node or two, learn what one process learns from the same batches."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import tiny
for kind in tiny.KINDS:
    folder = pathlib.Path(sys.argv[2]) / kind
    folder.mkdir(exist_ok=True)
    tiny.train(kind, folder, n_accumulation_steps=2, recompute_activations=True)
from accelerate import PartialState
assert PartialState().num_processes == 2
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Losses by step of each kind, trained by one process, a batch at a time."""
    losses = {}
    for kind in tiny.KINDS:
        folder = tmp_path_factory.mktemp(kind)
        tiny.train(kind, folder)
        losses[kind] = tiny.read_losses(folder)
    return losses


@pytest.mark.parametrize("n_nodes", [1, 2])
def test_two_processes_follow_the_loss_curve_of_one(n_nodes, alone, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(n_nodes)]
    command += ["--nproc-per-node", str(2 // n_nodes), "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", f"localhost:{port}", str(tmp_path / "train.py")]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    nodes = [
        subprocess.Popen(
            [*command, str(Path(__file__).parent), str(tmp_path)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(n_nodes)
    ]
    for node in nodes:
        _, errors = node.communicate(timeout=300)
        assert node.returncode == 0, errors[-3000:]
    for kind, expected in alone.items():
        found = tiny.read_losses(tmp_path / kind)
        assert found.shape == expected.shape == (24, 3)
        assert np.allclose(found, expected, rtol=1e-4, equal_nan=True), kind
        assert np.isfinite(found[[7, 15, 23], 2]).all()
