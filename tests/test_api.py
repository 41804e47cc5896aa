"""`import braing3n`: what it offers, what it loads, and that the examples hold."""

import subprocess
import sys

import pytest

import braing3n


def test_importing_the_package_loads_no_library_and_no_function_yet():
    code = "import sys, braing3n; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "numpy", "pydantic", "yaml", "ants"} & set(eval(done.stdout))


def test_what_is_offered_is_listed_and_described():
    assert {"from_pretrained", "load_config", "preprocess_scans"} <= set(dir(braing3n))
    assert all(getattr(braing3n, name).__doc__ for name in braing3n.PUBLIC)
    with pytest.raises(
        AttributeError, match="no 'encode'; it offers from_pretrained, load_config, preprocess_scans"
    ):
        braing3n.encode  # noqa: B018


def test_the_modules_example_holds(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    assert braing3n.load_config("config/demo.yaml").preprocess.spacing_mm == 4.0
