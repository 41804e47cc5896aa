"""The notebook's cells run one after the other, on a model folder and a scan."""

from pathlib import Path

import nbformat

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "embeddings.ipynb"


def test_every_cell_runs(made, scan, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    for name, path in (("MODEL", made[0]), ("SCANS", scan), ("OUT", tmp_path / "out")):
        monkeypatch.setenv(f"BRAING3N_{name}", str(path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    space: dict = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            exec(compile(cell.source, cell.id, "exec"), space)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "encode",
        "predict",
        "counterfactual",
        "features.png",
    }
    assert len(space["predictions"]) >= 3
