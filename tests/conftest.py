"""What all tests share: where the checkout and the real data lie, and fetched resources."""

from pathlib import Path

import pytest

from braing3n.config import ResourceSettings
from braing3n.errors import ResourceError
from braing3n.resources import fetch

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real scans; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    return SHARED_DATA


@pytest.fixture
def one_thread():
    """Torch computes with one thread, so that the same sums have the same bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def fetch_resource():
    """Fetch a resource into the checkout; the test is skipped, with the reason, where that fails."""

    def get(name):
        try:
            return fetch(name, ResourceSettings(), ROOT / "resources")
        except ResourceError as error:
            pytest.skip(str(error))

    return get
