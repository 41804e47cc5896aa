"""What all tests share: where the checkout and the real data lie, and fetched resources."""

import multiprocessing
import os
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from braing3n.config import ResourceSettings
from braing3n.core.errors import ResourceError
from braing3n.core.resources import fetch
from braing3n.core.runtime import THREAD_VARIABLES

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many processes test as there are cores
hypothesis.settings.register_profile("tests", deadline=None)  # speed is no claim of a test
hypothesis.settings.load_profile("tests")
ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items):
    """Files that run Snakemake or take long come first: no process waits for another's long last file."""
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("workflow", "slow")])


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real scans; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def thread_variables():
    """A command that a test runs in this process leaves no number of threads to the tests after it."""
    before = {name: os.environ.get(name) for name in (*THREAD_VARIABLES, "BLOSC_NTHREADS")}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def one_thread():
    """Torch computes with one thread, so that the same sums have the same bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def run_child():
    """A function: another function and its arguments -> the exit code of a process that runs it.

    Children are forked by one server, which has imported what they need and run nothing.
    """
    context = multiprocessing.get_context("forkserver")
    words = ("pretrain", "tokenizer", "sweep", "diffusion", "longitudinal", "probe.finetune")
    ours = ("cli", "diffusion.sample", "latents.cache", "latents.command")
    others = ("matplotlib.pyplot", "monai.networks.nets", "tensorboardX.proto.event_pb2", "torch._dynamo")
    names = (*(f"{word}.train" for word in words), *ours)
    context.set_forkserver_preload([*(f"braing3n.{name}" for name in names), *others])

    def run(function, *arguments, **options):
        child = context.Process(target=function, args=arguments, kwargs=options)
        child.start()
        child.join(300)
        return child.exitcode

    return run


@pytest.fixture(scope="session")
def fetch_resource():
    """Fetch a resource into the checkout; the test is skipped, with the reason, where that fails."""

    def get(name):
        try:
            (ROOT / "resources").mkdir(exist_ok=True)
            with FileLock(ROOT / "resources" / ".lock"):  # another process of the tests may fetch it, too
                return fetch(name, ResourceSettings(), ROOT / "resources")
        except ResourceError as error:
            pytest.skip(str(error))

    return get


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """(model folder, labels, features, scores) of a small invented run; all processes share it, to read."""
    import numpy as np
    import pandas as pd

    from .export.invented_run import make_run

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "invented-run"
    with FileLock(f"{folder}.lock"):
        if not (folder / "export").exists():
            folder.mkdir(exist_ok=True)
            make_run(folder)
    features = np.load(folder / "features.npz")["features"]
    labels, scores = (pd.read_parquet(folder / f"{name}.parquet") for name in ("labels", "scores"))
    return folder / "export", labels, features, scores
