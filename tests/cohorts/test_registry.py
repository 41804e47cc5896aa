"""Every file of `cohorts/` declares a whole cohort; the registry is the folder."""

import ast

import pytest

from braing3n.cohort import COHORTS_DIR, Cohort, list_cohorts, load_cohort
from braing3n.core.errors import ConfigurationError


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
    monkeypatch.setattr("braing3n.cohort.registry.COHORTS_DIR", tmp_path)
    assert list_cohorts() == ["nineteenth"]
    load_cohort.cache_clear()
    assert load_cohort("nineteenth").title
    load_cohort.cache_clear()


def test_an_unknown_kind_names_the_likely_one():
    with pytest.raises(ConfigurationError, match="did you mean 'phantom'"):
        load_cohort("phantoms")


def declare(**parts):
    """The text of a declaration."""
    words = ", ".join(f"{name}={text}" for name, text in parts.items())
    return f'COHORT = Cohort(title="x", source="", licence="", citation="", {words})'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('COHORT = Cohort(title="x", source="", licence="", citation="", poeple=())', "poeple"),
        (
            'COHORT = Cohort(title="x", source="", licence="", citation="", fields={"age": ()})',
            "'age_years'?",
        ),
        (
            'COHORT = Cohort(title="x", source="", licence="", citation="", fields={"handednes": ()})',
            "'handedness'?",
        ),
        ("COHORT = Chort()", "Chort"),
        ("COHORT = (", "cannot be read"),
        ("COHORT = 1 / 0", "ZeroDivisionError: division by zero, line 2"),
        ("raise SystemExit(0)", "cannot be read"),
        ("COHORT = None", "declares no cohort"),
        ("COHORT = Cohort", "declares no cohort"),
        ("", "declares no cohort"),
        (declare(tables='Table("a", "a", {"id": "subject"})'), "tables = Table.*give a tuple"),
        (declare(tables='(Table("a", "a", "id"),)'), "Table.'a'. has key = 'id'; give a mapping"),
        (declare(tables='(Table("a", None, {}),)'), "Table.'a'. has files = None; give a text"),
        (declare(tables='(Table("a", "a", {}, missing=("-9")),)'), "has missing = '-9'; give a tuple"),
        (declare(tables='(Table("a", "a", {}, missing=(-9,)),)'), r"has missing.0. = -9; give a text"),
        (declare(fields='{"age_years": Cell("a", "b")}'), "fields.'age_years'. = Cell.*give a tuple"),
        (declare(fields='{"age_years": ("age",)}'), "= 'age'; give a function"),
        (declare(fields="{3: ()}"), "= 3; give a text"),
        (declare(fields='{"site": (Fixed(3),)}'), "Fixed has value = 3; give a text"),
        (declare(fields='{"sex": (Cell("a", 3),)}'), "Cell has column = 3; give a text"),
        (declare(fields='{"sex": (Cell("a", "b", ["F"]),)}'), r"Cell has codes = \['F'\]; give a mapping"),
        (declare(fields='{"sex": (Cell("a", "b", {1: "F"}),)}'), "= 1; give a text"),
        (declare(fields='{"sex": (Cell("a", "b", missing="-9"),)}'), "has missing = '-9'; give a tuple"),
        (declare(patterns="(Pattern(5),)"), "Pattern.5. has path = 5; give a text"),
        (declare(patterns='("a",)'), "patterns.0. = 'a'; it should be an instance of Pattern"),
    ],
)
def test_a_slip_in_a_cohort_file_is_one_sentence(tmp_path, monkeypatch, body, words):
    from braing3n.cohort import registry as cohorts
    from braing3n.core.errors import ConfigurationError

    (tmp_path / "slip.py").write_text(
        f"from braing3n.cohort import Cell, Cohort, Fixed, Pattern, Table\n{body}\n"
    )
    monkeypatch.setattr(cohorts, "COHORTS_DIR", tmp_path)
    load = cohorts.load_cohort.__wrapped__
    with pytest.raises(ConfigurationError, match=words.replace("?", r"\?")) as caught:
        load("slip")
    assert str(caught.value).startswith("cohorts/slip.py: ")


def test_a_diagnosis_that_is_none_of_ours_stops_the_ingest(tmp_path):
    import pandas as pd

    from braing3n.cohort import Cohort, Found
    from braing3n.core.errors import CohortError
    from braing3n.ingest.cohort import build_records

    cohort = Cohort("x", "", "", "", fields={"dx": (lambda visit: Found("Healthy", "table:dx"),)})
    row = {"cohort": "x", "subject_id": "1", "session_id": "", "run": "", "modality": "T1"}
    row |= {"path": "a.nii.gz", "facts": "{}"}
    with pytest.raises(CohortError, match="the cohort's file makes dx 'Healthy', which is none of HC"):
        build_records(cohort, "x", pd.DataFrame([row]), pd.DataFrame([row])[:0], [], {}, tmp_path)
