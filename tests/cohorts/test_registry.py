"""Every file of `cohorts/` declares a whole cohort; the registry is the folder."""

import ast

import pytest

from braing3n.cohort import COHORTS_DIR, Cohort, list_cohorts, load_cohort
from braing3n.errors import ConfigurationError


@pytest.mark.parametrize("kind", list_cohorts())
def test_a_cohort_file_declares_where_it_comes_from_and_how_it_is_read(kind):
    cohort = load_cohort(kind)
    assert isinstance(cohort, Cohort)
    assert all((cohort.title, cohort.source, cohort.licence, cohort.citation))
    assert count_lines((COHORTS_DIR / f"{kind}.py").read_text()) <= 150


def count_lines(text):
    """The lines of a cohort file without its miniature's, and those of constants that stand in it alone."""
    tree = ast.parse(text)
    own = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "miniature"]
    names = {node.id for part in own for node in ast.walk(part) if isinstance(node, ast.Name)}
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in names and used.count(target.id) == 2:
            own.append(node)
    return len(text.splitlines()) - sum(node.end_lineno - node.lineno + 1 for node in own)


def test_a_new_file_is_a_new_cohort(tmp_path, monkeypatch):
    (tmp_path / "nineteenth.py").write_text((COHORTS_DIR / "bids.py").read_text())
    monkeypatch.setattr("braing3n.cohort.COHORTS_DIR", tmp_path)
    assert list_cohorts() == ["nineteenth"]
    load_cohort.cache_clear()
    assert load_cohort("nineteenth").title
    load_cohort.cache_clear()


def test_an_unknown_kind_names_the_likely_one():
    with pytest.raises(ConfigurationError, match="did you mean 'phantom'"):
        load_cohort("phantoms")
