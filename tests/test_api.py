"""`import braing3n`: what it offers, what it loads, and that the examples hold."""

import doctest
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


@pytest.mark.parametrize("described", [braing3n, braing3n.load_config])
def test_an_example_that_needs_no_scan_prints_what_it_says(described, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    example = doctest.DocTestParser().get_doctest(
        described.__doc__, {"braing3n": braing3n}, "example", None, 0
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", braing3n.PUBLIC)
def test_every_function_has_an_example_of_itself(name):
    """The others' are those of docs/api.md, which `tests/export/test_pretrained.py` runs."""
    examples = doctest.DocTestParser().get_examples(getattr(braing3n, name).__doc__)
    assert any(f"braing3n.{name}(" in example.source for example in examples)
