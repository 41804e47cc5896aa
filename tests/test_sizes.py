"""No file, function or folder grows beyond what one reads at a sitting, and no word means two things."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "braing3n"
FILES = sorted(PACKAGE.rglob("*.py"))


def list_functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def count_lines(node):
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_has_400_lines_and_a_function_60_at_most(path):
    assert len(path.read_text().splitlines()) <= 400
    assert {node.name: n for node in list_functions(path) if (n := count_lines(node)) > 60} == {}


def test_a_folder_has_12_files_at_most_and_the_top_8():
    folders = [path for path in PACKAGE.rglob("*") if path.is_dir() and list(path.glob("*.py"))]
    assert {path.name: n for path in folders if (n := len(list(path.glob("*.py")))) > 12} == {}
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_a_training_loop_has_30_lines_at_most():
    loops = [
        node
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.For) and "take_steps" in ast.dump(node.iter)
    ]
    assert len(loops) == 7, (
        "masked autoencoder (also fine-tuned), tokenizer, baseline, DiT, bridge, copy detector"
    )
    assert max(map(count_lines, loops)) <= 30


def test_a_word_of_the_cohort_files_names_one_thing():
    """Scan, Visit, Table and the others; classes and names of types."""
    named = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                named[name].append(path.relative_to(PACKAGE).as_posix())
    words = {name for name, paths in named.items() if any(path.startswith("cohort/") for path in paths)}
    words = {name for name in words if name[0].isupper() and not name.isupper()}
    assert {"Scan", "Visit", "Table", "Cohort", "Pattern"} <= words
    assert {name: named[name] for name in words if len(named[name]) > 1} == {}
