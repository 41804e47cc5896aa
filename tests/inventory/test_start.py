"""What is wrong with a run is said before there is a DAG."""

import pytest

from braing3n.launch import start_run


def write_people(folder, n):
    for i in range(n):
        path = folder / f"raw/sub-{i:02d}/anat/sub-{i:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"scan")
    return {"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}}}


def start(data, *words):
    """Status and sentence of a start."""
    with pytest.raises(SystemExit) as caught:
        start_run(data, True, words)
    return caught.value.code


def test_a_run_without_cohorts_says_what_is_to_be_configured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start({"run": "x"}, "all") == 2
    assert "no cohort is configured; give a file with `cohorts:`" in capsys.readouterr().err


def test_an_empty_split_is_found_where_a_split_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = write_people(tmp_path, 6)
    data["manifest"] = {"train": 0.98, "validation": 0.01}
    assert start(data, "all") == 2
    assert "split has nobody: 6 people or families, of which 0.98 train" in capsys.readouterr().err
    start_run(data, True, ["preprocess"])
    start_run(data, True, ["volumes"])
    start_run(data, True, ["ingest_mine"])
    start_run(data | {"manifest": {"train": 0.4, "validation": 0.3}}, True, ["all"])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"diffusion": {"width": 1000, "n_heads": 16}},
            "diffusion.width must be divisible by",
        ),
        ({"pretrain": {"n_heads": 7}}, "pretrain.width: 1152 must be divisible by 6 and by its 7 heads"),
        ({"manifest": {"train": 0.9, "validation": 0.1}}, "must leave a share for the test split"),
    ],
)
def test_settings_that_do_not_fit_together(section, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start({"run": "x", **section}, "all") == 2
    assert words in capsys.readouterr().err
