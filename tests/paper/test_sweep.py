"""Table 5 holds what the sweep measured beside the paper's; what it did not is `n/a` with the reason."""

import json

import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import write_table
from braing3n.paper.printed.sweep import build_table_5
from braing3n.paper.results import Results
from braing3n.sweep.contracts import SWEEP
from braing3n.volumes.contracts import VOLUME_LIST

BLANKS = {str: "", int: 0, float: np.nan}


def fill(rows, contract):
    """Rows as a table with every column of the contract."""
    frame = pd.DataFrame(rows)
    for name, (kind, _) in contract.items():
        frame[name] = frame[name].fillna(BLANKS[kind]) if name in frame else BLANKS[kind]
    return frame


def write_metrics(path, d, mse, training=None):
    region = {"mse": mse, "psnr_db": 33.333, "ssim": 0.9}
    metrics = {"split": "test", "n_volumes": 9, "d": d, "n_numbers_a_volume": 4800, "psnr_range_z": 14.7}
    metrics |= {"training": training} if training else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**metrics, "crop": region, "brain": {**region, "mse": 2 * mse}}))


@pytest.fixture
def run_dir(tmp_path):
    """A run with its own tokenizer, and a sweep of d = 32, d = 8 and the AKL over five people."""
    root = tmp_path / "results" / "tiny"
    write_metrics(root / "tokenizer" / "metrics.json", 16, 0.5)
    for arm, d, mse, epochs, tera in (
        ("d-32", 32, 0.1234, "100 + 57 of 80", 396.96),
        ("d-8", 8, 0.25, "100 + 80", 480.0),
        ("akl-compute", "akl", 0.2, "7", 490.4),
        ("akl-epochs", "akl", 0.15, "180", 12609.0),
    ):
        training = {"epochs": epochs, "flops_a_volume": round(tera * 1e12)}
        write_metrics(root / "sweep" / arm / "metrics.json", d, mse, training)
    splits = ["train", "train", "train", "validation", "test"]
    people = [
        {"volume_id": f"v{k}", "person_id": f"p{k}", "group_id": f"p{k}", "cohort": "ucsf_pdgm"}
        | {"modality": "T1c", "split": split}
        for k, split in enumerate(splits)
    ]
    write_table(fill(people, VOLUME_LIST), root / "sweep/volume_list.parquet", VOLUME_LIST)
    scores = []
    arms = ("d-32", "d-8", "akl-compute", "akl-epochs")
    readings = [(arm, reading) for arm in arms for reading in ("mean", "flattened")]
    for k, (arm, reading) in enumerate([*readings, ("untrained", "mean")]):
        row = {"arm": arm, "reading": reading, "n_features": 6, "metric": "auc", "n_people": 5}
        scores.append({**row, "task": "idh1", "title": "IDH1 mutation (AUC)", "fold_mean": 0.9 - k / 100})
        scores[-1]["fold_sd"] = 0.05
        scores.append({**row, "task": "grade", "title": "Grade", "reason": "only 5 people for 5 folds"})
        scores.append({**row, "task": "sex", "title": "Sex (AUC)", "fold_mean": 0.5, "fold_sd": 0.1})
    write_table(fill(scores, SWEEP), root / "sweep" / "scores.parquet", SWEEP)
    return root


def get_row(table, name):
    rows = table.frame[table.frame["Model"] == name]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_arm_stands_beside_the_papers(run_dir):
    table = build_table_5(Results(run_dir))
    row = get_row(table, "MAE (d = 32, chosen)")
    assert (row["Dims | ours"], row["Dims | paper"]) == ("4,800", "38K")
    assert tuple(row[["MSE | ours, crop", "MSE | ours, in the brain", "MSE | paper"]]) == (
        "0.123",
        "0.247",
        "0.119",
    )
    assert tuple(row[["PSNR (dB) | ours, crop", "PSNR (dB) | paper"]]) == ("33.33", "32.54")
    cells = row[["IDH1 AUC | ours, mean", "IDH1 AUC | ours, flattened", "IDH1 AUC | paper"]]
    assert tuple(cells) == ("0.900 ± 0.050", "0.890 ± 0.050", "0.861")
    assert row["Grade AUC | ours, mean"] == "n/a: only 5 people for 5 folds"
    assert row["Sex (AUC) | paper"] == "n/a: not in the paper"
    assert get_row(table, "AKL")["IDH1 AUC | ours, flattened"] == "0.850 ± 0.050"
    other = get_row(table, "MAE (d = 8)")
    assert (other["MSE | ours, crop"], other["MSE | paper"]) == ("0.250", "n/a: not in the paper")
    assert get_row(table, "MAE (d = 512)")["MSE | ours, crop"] == "n/a: not an arm of this run's sweep"


def test_both_akls_stand_one_below_the_other_with_their_epochs_and_operations(run_dir):
    table = build_table_5(Results(run_dir))
    assert list(table.frame["Model"][:3]) == ["AKL", "AKL (matched epochs)", "MAE (d = 32, chosen)"]
    cells = ["Training | epochs", "Training | 1e12 operations a volume"]
    found = {row["Model"]: tuple(row[cells]) for _, row in table.frame.iterrows()}
    assert found["AKL"] == ("7", "490.4")
    assert found["AKL (matched epochs)"] == ("180", "1.261e+04")
    assert found["MAE (d = 32, chosen)"] == ("100 + 57 of 80", "397")
    assert found["Untrained encoder"] == ("n/a: is never trained",) * 2
    own = found["This run's tokenizer (d = 16, all cohorts)"]
    assert own == ("n/a: its encoder's weights do not say how long they were trained",) * 2
    row = get_row(table, "AKL (matched epochs)")
    assert (row["MSE | ours, crop"], row["MSE | paper"]) == ("0.150", "n/a: not in the paper")
    assert row["IDH1 AUC | ours, flattened"] == "0.830 ± 0.050"
    assert get_row(table, "AKL")["MSE | paper"] == "0.093"


def test_a_baseline_that_the_paper_has_not_stands_beside_the_akl(run_dir):
    path = run_dir / "sweep" / "scores.parquet"
    scores = pd.read_parquet(path)
    known = scores[scores["arm"] == "akl-epochs"]
    added = [known.assign(arm=arm, fold_mean=0.7) for arm in ("vq-compute", "vq-epochs")]
    write_table(pd.concat([scores, *added], ignore_index=True), path, SWEEP)
    training = {"epochs": "12", "flops_a_volume": 10**12}
    write_metrics(run_dir / "sweep" / "vq-compute" / "metrics.json", "vq", 0.4, training)
    table = build_table_5(Results(run_dir))
    expected = ["AKL", "AKL (matched epochs)", "VQ", "VQ (matched epochs)", "MAE (d = 32, chosen)"]
    assert list(table.frame["Model"][:5]) == expected
    row = get_row(table, "VQ")
    assert (row["MSE | ours, crop"], row["Training | epochs"]) == ("0.400", "12")
    assert row["IDH1 AUC | ours, flattened"] == "0.700 ± 0.050"
    assert set(row.filter(like="| paper")) == {"n/a: not in the paper"}
    row = get_row(table, "VQ (matched epochs)")
    assert row["MSE | ours, crop"] == "n/a: this run has no sweep/vq-epochs/metrics.json"


def test_the_untrained_encoder_and_the_runs_own_tokenizer_have_rows(run_dir):
    table = build_table_5(Results(run_dir))
    untrained = get_row(table, "Untrained encoder")
    assert untrained["IDH1 AUC | ours, mean"] == "0.820 ± 0.050"
    assert untrained["IDH1 AUC | ours, flattened"] == "n/a: its mean alone is read"
    assert untrained["MSE | ours, crop"] == "n/a: has no decoder"
    own = get_row(table, "This run's tokenizer (d = 16, all cohorts)")
    assert (own["MSE | ours, crop"], own["MSE | ours, in the brain"]) == ("0.500", "1.000")
    assert own["IDH1 AUC | ours, mean"].startswith("n/a: no arm of the sweep")


def test_notes_count_people_and_tell_what_was_chosen(run_dir):
    notes = " ".join(build_table_5(Results(run_dir)).notes)
    assert "one T1c (chosen) of each person of ucsf_pdgm; people: train 3, validation 1, test 1." in notes
    assert "IDH1 mutation (AUC): 5 people. Sex (AUC): 5 people." in notes
    assert "Grade: " not in notes


def test_before_the_probes_the_metrics_stand_there_already(run_dir):
    (run_dir / "sweep" / "scores.parquet").unlink()
    table = build_table_5(Results(run_dir))
    row = get_row(table, "MAE (d = 32, chosen)")
    assert row["MSE | ours, crop"] == "0.123"
    assert row["IDH1 AUC | ours, mean"] == "n/a: this run has no sweep/scores.parquet"
    row = get_row(table, "MAE (d = 128)")
    assert row["MSE | ours, crop"] == "n/a: this run has no sweep/d-128/metrics.json"


def test_a_run_without_a_sweep_says_so(tmp_path):
    write_metrics(tmp_path / "tokenizer" / "metrics.json", 32, 0.5)
    table = build_table_5(Results(tmp_path))
    for name in ("AKL", "MAE (d = 32, chosen)", "MAE (no projection)"):
        row = get_row(table, name)
        assert row["MSE | ours, crop"] == "n/a: this run has no sweep (no cohort of sweep.cohorts)"
        assert row["IDH1 AUC | ours, mean"] == row["MSE | ours, crop"]
    assert get_row(table, "This run's tokenizer (d = 32, all cohorts)")["MSE | ours, crop"] == "0.500"
    assert list(table.frame["Model"])[-2:] == [
        "Untrained encoder",
        "This run's tokenizer (d = 32, all cohorts)",
    ]
