"""Table contracts: what breaks one is named."""

import pandas as pd
import pytest

from braing3n.core.contracts import read_table, write_table
from braing3n.core.errors import ContractError
from braing3n.manifest.contracts import FLOW

ROW = {
    "cohort": ["a"],
    "stage": ["preprocess"],
    "received": [1],
    "kept": [1],
    "excluded": [0],
    "reason": [""],
}


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(pd.DataFrame(ROW), tmp_path / name, FLOW)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_table(tmp_path / "one", FLOW)["kept"].tolist() == [1]


@pytest.mark.parametrize("change", [{"kept": [-1]}, {"kept": ["x"]}, {"reason": [None]}])
def test_a_broken_contract_names_the_column_and_writes_nothing(tmp_path, change):
    with pytest.raises(ContractError, match=next(iter(change))):
        write_table(pd.DataFrame(ROW | change), tmp_path / "table", FLOW)
    assert not list(tmp_path.iterdir())


def test_a_missing_column_and_a_file_that_is_no_table_are_named(tmp_path):
    frame = pd.DataFrame(ROW).drop(columns="kept")
    with pytest.raises(ContractError, match="kept"):
        write_table(frame, tmp_path / "table", FLOW)
    (tmp_path / "bad").write_text("no parquet")
    with pytest.raises(ContractError, match="bad: cannot be read"):
        read_table(tmp_path / "bad", FLOW)
