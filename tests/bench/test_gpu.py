"""What a GPU decides: the script runs where there is none, and says so."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PARTS = {
    "device",
    "MAE training",
    "encode",
    "tokenizer training",
    "AKL training",
    "decode",
    "DiT training",
    "sampling",
    "attention",
}


def run(*options):
    """bench/gpu.py in a process of its own, which sees no GPU."""
    command = [sys.executable, ROOT / "bench" / "gpu.py", "--threads", "1", *map(str, options)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_every_part_runs_on_small_sizes(tmp_path):
    done = run("--device", "cpu", "--tiny", "--out", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["part"] for row in rows} == PARTS
    assert not [row for row in rows if "failed" in row["what"]]
    assert all(row["is_met"] is None for row in rows)  # nothing is judged here
    values = {(row["part"], row["what"]): row["value"] for row in rows}
    rate, ms = (values["MAE training", f"plain: {what}"] for what in ("volumes a second", "step"))
    assert rate * ms / 1000 == pytest.approx(round(rate * ms / 1000))  # a whole batch a step
    for part in ("MAE training", "tokenizer training"):
        assert values[part, "packed volumes: volumes a second"] > 0
        assert 0 <= values[part, "stalls: 1 - step alone / step fed"] < 100


def test_without_a_gpu_it_says_so_and_exits_with_2():
    done = run()
    assert done.returncode == 2
    assert done.stdout.startswith("No GPU is at hand")


def test_a_part_that_fails_is_a_row_and_the_rest_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    gpu, timing = importlib.import_module("gpu"), importlib.import_module("gpu_parts.timing")
    encoder, decoders = (importlib.import_module(f"gpu_parts.{name}") for name in ("encoder", "decoders"))

    def fail(bench):
        raise ValueError("of no device\nand more")

    for module in (encoder, decoders):
        for name in [name for name in vars(module) if name.startswith("measure_")]:
            monkeypatch.setattr(module, name, lambda bench: bench.note("any", "value", 1.0, "s"))
    monkeypatch.setattr(encoder, "measure_mae", fail)
    bench = timing.Bench(torch.device("cpu"), None, (1, 1, 1), (1,), 1, tmp_path)
    assert gpu.run_parts(bench, 100.0, None) == 1
    assert "| MAE training | failed |  |  |  | ValueError: of no device |" in capsys.readouterr().out
    assert [row.what for row in bench.rows] == ["value", "failed", *["value"] * (len(PARTS) - 2)]
    bench.rows.clear()
    assert gpu.run_parts(bench, -1.0, None) == len(PARTS)  # no time is left for any


def test_what_is_needed_beside_torch_is_neither_ants_nor_snakemake():
    done = run("--list-wheels")
    assert done.returncode == 0, done.stderr
    names = {line.partition("==")[0].lower() for line in done.stdout.split()}
    assert {"accelerate", "monai", "numpy", "safetensors"} <= names
    assert not names & {"torch", "antspyx", "snakemake"}


def test_memory_ends_a_sweep_and_what_fails_at_once_is_a_row(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    timing = importlib.import_module("gpu_parts.timing")
    bench = timing.Bench(torch.device("cpu"), None, (1, 1, 1), (1, 2, 4, 8), 1, tmp_path, peak_flops=100.0)
    bench.until = float("inf")

    def measure(batch):
        if batch > 4:
            raise torch.OutOfMemoryError("no memory")
        return {1: 1.0, 2: 1.6, 4: 4.0}[batch]

    assert timing.sweep(bench, "part", "it", 10, measure) == 2
    values = {row.what: row.value for row in bench.rows}
    assert values == {"it: volumes a second": 1.25, "it: step": 1600.0, "it: utilisation": 12.5}
    assert timing.sweep(bench, "part", "large", 10, measure, (8, 16)) == 0
    assert [row.what for row in bench.rows[-2:]] == ["large: failed", "large: not measured"]
