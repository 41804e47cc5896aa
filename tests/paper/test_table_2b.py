"""Table 2b is the mean of Table 8's arms, and has no number where one of them is missing."""

import pandas as pd

from braing3n.fidelity.contracts import DISTANCES
from braing3n.fidelity.sliced import FID
from braing3n.paper.printed.fidelity import build_table_2b
from braing3n.paper.results import Results


def test_a_condition_is_the_mean_of_its_arms(tmp_path):
    blank = {name: 0 if kind in (int, float) else "" for name, (kind, _) in DISTANCES.items()}
    values = {"Sex F (T1)": 10.0, "Sex M (T1)": 13.0, "Disease HC (T1)": 9.0, "Pooled across all arms": 7.0}
    rows = [blank | {"arm": arm, "quantity": FID, "value": value} for arm, value in values.items()]
    rows = [row | {"comparison": name} for row in rows for name in ("gen-vs-real", "gen-vs-recons")]
    rows.append(rows[0] | {"arm": "Disease AD (T1)", "reason": "1 samples of this arm"})
    (tmp_path / "fidelity").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "fidelity/distances.parquet")
    shown = build_table_2b(Results(tmp_path)).frame.set_index("Condition")["gen-vs-real | ours"]
    assert (shown["Sex"], shown["Pooled"]) == ("11.5", "7")
    assert shown["Disease"] == "n/a: 1 samples of this arm"
    assert shown["Age"] == "n/a: arm not measured"
