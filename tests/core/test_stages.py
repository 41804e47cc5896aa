"""The stage lock: code that moved without a version is seen, comments are not."""

import pytest

from braing3n.core import stages
from braing3n.core.stages import _strip, find_unlocked


def test_no_stage_moved_without_a_version_or_a_relock():
    assert not find_unlocked(), "\n".join(find_unlocked())


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ('"""Other words."""\ndef f(x):\n    """Doc."""\n    return x + 1  # why\n', True),
        ('"""Doc."""\ndef f(x):\n    return x + 2\n', False),
    ],
)
def test_comments_and_docstrings_do_not_count(changed, is_same):
    source = '"""Doc."""\ndef f(x):\n    return x + 1\n'
    assert (_strip(source, False) == _strip(changed, False)) is is_same


def test_the_version_itself_is_not_part_of_the_digest():
    assert _strip("STAGE_VERSION = 1\nA = 1\n", True) == _strip("STAGE_VERSION = 2\nA = 1\n", True)


@pytest.mark.parametrize("name", ["site/page.html", "site/style.css", "site/page.js", "site/pages.py"])
def test_a_changed_template_moves_the_stages_that_render_pages(name, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "PACKAGE_DIR", tmp_path)
    files = {
        "paper/page.py": "from braing3n.site.pages import render",
        "probe/fit.py": "A = 1",
        "site/pages.py": "B = 1",
        "site/page.html": "<p>",
        "site/style.css": "p {}",
        "site/page.js": "f();",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    paper, probe = stages._digest_stage("paper"), stages._digest_stage("probe")
    (tmp_path / name).write_text("C = 2")
    assert stages._digest_stage("paper") != paper
    assert stages._digest_stage("probe") == probe


def test_a_changed_encoder_moves_the_stage_that_loads_it_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "PACKAGE_DIR", tmp_path)
    for path in ("latents/cache.py", "probe/fit.py", "encoders/foreign/mine.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("A = 1")
    latents, probe = stages._digest_stage("latents"), stages._digest_stage("probe")
    (tmp_path / "encoders/foreign/mine.py").write_text("A = 2")
    assert stages._digest_stage("latents") != latents
    assert stages._digest_stage("probe") == probe
