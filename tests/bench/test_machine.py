"""What every bench says of the machine, and the busy processes beside which a step is timed."""

import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of bench/ by name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def test_the_line_names_processor_cpus_and_instruction_sets(bench, monkeypatch):
    machine = bench("machine")
    facts = {
        "model name": "A CPU",
        "cpu family": "6",
        "model": "207",
        "flags": "fpu avx2 amx_bf16 avx512fake",
    }
    monkeypatch.setattr(machine, "read_processor", lambda: facts)
    monkeypatch.setattr(machine, "count_cpus", lambda: 3)
    assert machine.describe_processor() == "processor: A CPU (family 6, model 207), 3 CPUs, avx2 amx_bf16"
    monkeypatch.setattr(machine, "read_processor", dict)
    assert "3 CPUs, none of the known instruction sets" in machine.describe_processor()


@pytest.mark.parametrize("path", sorted(BENCH.glob("*.py")), ids=lambda path: path.stem)
def test_every_bench_prints_the_line_first(path):
    """In its own main function, or by the comparison of two sides that it calls."""
    printed = re.findall(r"print\((f\"{)?describe_processor\(\)", path.read_text())
    if "compare_sides(" in path.read_text():
        printed += re.findall(r"print\((f\"{)?describe_processor\(\)", (BENCH / "peers/sides.py").read_text())
    assert len(printed) == (path.stem != "floor"), "which counts operations and measures nothing"


def test_the_least_of_the_probes_fits_grows_with_all_their_rows(bench, monkeypatch):
    """Two seconds for the five rows that are timed, and thirty in two probes."""
    probe = bench("probe")
    ticks = iter([100.0, 102.0])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(probe, "N_TIMED_ROWS", 5)
    probes = [SimpleNamespace(units=range(10)), SimpleNamespace(units=range(20))]
    assert probe.time_scatters(probes, np.ones((40, 3))) == pytest.approx(12)


def test_a_walk_alone_sees_every_file(bench, tmp_path, monkeypatch):
    machine = bench("machine")
    for name in ("a", "b/c", "b/d/e"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    seen, stat = [], os.stat
    monkeypatch.setattr(
        machine.os, "stat", lambda path: seen.append(os.path.relpath(path, tmp_path)) or stat(path)
    )
    assert machine.time_walk_alone(tmp_path) > 0
    assert sorted(seen) == ["a", "b/c", "b/d/e"]


def read_cpu_seconds(pid):
    """Seconds of processors that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are read from /proc")
def test_busy_processes_compute_and_end_with_their_parent():
    code = (
        f"import sys; sys.path.insert(0, {str(BENCH)!r})\n"
        "from shared_machine import keep_busy\n"
        "with keep_busy(2) as pids:\n    print(*pids, flush=True)\n    sys.stdin.read(1)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as parent:
        pids = parent.stdout.readline().split()
        assert len(pids) == 2
        time.sleep(1)
        assert all(read_cpu_seconds(pid) > 0.05 for pid in pids)
        parent.kill()  # nothing is cleaned up
    until = time.monotonic() + 20
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)


def is_running(pid):
    """Whether a process is there, and no zombie that nobody waits for."""
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
