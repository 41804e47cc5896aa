"""The Python function beside the command, and packages that only an extra installs."""

import importlib
import sys

import pandas as pd
import pytest

import braing3n
from braing3n.cli import main
from braing3n.core.errors import BrainG3nError

from .brains import write_brain

READY = ("--stripped", "--bias-corrected")


def test_the_function_gives_the_commands_numbers(tmp_path, type_in):
    write_brain(tmp_path / "t1.nii.gz")
    (tmp_path / "empty_T2w.nii.gz").write_bytes(b"")
    status, printed = type_in("t1.nii.gz", "empty_T2w.nii.gz", "-o", "typed", *READY)
    assert status == 0, printed
    options = {"is_stripped": True, "config": "small.yaml"}
    table = braing3n.preprocess_scans("t1.nii.gz", "empty_T2w.nii.gz", out="called", **options)
    table = table.set_index("modality")
    assert table["status"].to_dict() == {"T1": "kept", "T2": "excluded"}
    assert "empty" in table.loc["T2", "reason"]
    assert (tmp_path / table.loc["T1", "path"]).is_file()
    typed = pd.read_csv(tmp_path / "typed" / "preprocess.tsv", sep="\t").set_index("modality")
    assert table.loc["T1", "native_brain_ml"] == pytest.approx(typed.loc["T1", "native_brain_ml"])
    coarse = braing3n.preprocess_scans("t1.nii.gz", out="coarse", brain_ml=[1.0, 900.0], **options)
    assert "ml, believable are 1-900 ml" in coarse.loc[0, "reason"]
    with pytest.raises(BrainG3nError, match="there is no such file"):
        braing3n.preprocess_scans("none.nii.gz", out="called")


@pytest.mark.parametrize(
    ("module", "backend", "extra"),
    [("ants", "none", "preprocess"), ("deepbet", "deepbet", "preprocess"), ("nnunetv2", "hd-bet", "hd-bet")],
)
def test_a_missing_package_names_its_extra_before_the_work(
    tmp_path, type_in, monkeypatch, module, backend, extra
):
    write_brain(tmp_path / "t1.nii.gz")
    monkeypatch.setitem(sys.modules, module, None)
    status, printed = type_in("t1.nii.gz", "-o", "out", "--brain-extraction", backend, *READY)
    assert status == 2
    assert f"'{module}' is not installed; add it in the checkout: pip install '.[{extra}]'." in printed
    assert not (tmp_path / "out").exists()


def test_a_missing_package_of_any_command_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "xlwt", None)
    monkeypatch.setattr("braing3n.cli._dispatch", lambda *given: importlib.import_module("xlwt"))
    assert main(["resources", "list"]) == 2
    assert "add it in the checkout: pip install '.[workflow]'." in capsys.readouterr().err
