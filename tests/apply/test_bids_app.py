"""The BIDS-App entry: who is preprocessed, and what a mistake says."""

import pytest

from braing3n.apply import preprocess
from braing3n.cli import main


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the entry asks preprocessing for."""
    for name in ("01", "02", "03"):
        (tmp_path / "bids" / f"sub-{name}" / "anat").mkdir(parents=True)
    requests = []
    monkeypatch.setattr(
        preprocess, "answer", lambda request: requests.append(request) or [{"status": "kept"}]
    )
    monkeypatch.chdir(tmp_path)
    return requests


def test_the_whole_dataset_or_the_people_named_are_preprocessed(asked):
    assert main(["bids-app", "bids", "out", "participant"]) == 0
    words = ["--participant-label", "01", "sub-03", "--brain-extraction", "deepbet", "--n-cpus", "2"]
    assert main(["bids-app", "bids", "out", "participant", *words]) == 0
    whole, some = asked
    assert [str(path) for path in whole.paths] == ["bids"]
    assert [str(path) for path in some.paths] == ["bids/sub-01", "bids/sub-03"]
    assert (str(some.out_dir), some.changes, some.n_workers) == ("out", {"brain_extraction": "deepbet"}, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["bids", "out", "participant", "--participant-label", "09"],
            "bids: has no sub-09; it has sub-01, ",
        ),
        (["none", "out", "participant"], "none: there is no such folder; give the BIDS dataset."),
        (["bids", "out", "group"], "bids-app: "),
        (["bids", "out"], "bids-app: "),
    ],
)
def test_a_mistake_is_one_sentence(asked, capsys, words, sentence):
    assert main(["bids-app", *words]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.splitlines()) == 1
    assert not asked
