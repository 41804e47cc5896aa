"""A person in two folds, a relative across folds and a duplicate under another id each stop a probe."""

import pytest

from braing3n.core.errors import ContractError
from braing3n.probe import plan
from braing3n.probe.compare import probe_encoder
from braing3n.probe.plan import check_duplicates, plan_probe
from braing3n.probe.tasks import PAPER_TASKS

(SEX,) = (task for task in PAPER_TASKS if task.key == "sex")


def test_a_person_in_two_folds_stops(corpus, settings, monkeypatch):
    """One person under two families, as a broken join leaves them."""
    labels = corpus[0].copy()
    person = labels.index[labels["person_id"] == "p031"]
    labels.loc[person, "group_id"] = ["g031", "another"]
    by_group = (labels["group_id"] == "another").astype(int).to_numpy()
    monkeypatch.setattr(plan, "assign_folds", lambda *_: by_group)
    with pytest.raises(ContractError, match="person_id p031 lies in two"):
        plan_probe(SEX, "all", labels, settings)


def test_a_relative_across_folds_stops(corpus, settings, monkeypatch):
    """Folds dealt by person, where p000 and p001 are of one family."""
    people = {name: k % 5 for k, name in enumerate(sorted(corpus[0]["person_id"].unique()))}
    by_person = corpus[0]["person_id"].map(people).to_numpy()
    monkeypatch.setattr(plan, "assign_folds", lambda *_: by_person)
    with pytest.raises(ContractError, match="group_id g000 lies in two"):
        plan_probe(SEX, "all", corpus[0], settings)


def test_a_duplicate_under_another_id_stops(corpus, settings):
    labels, features = corpus[0], corpus[1].copy()
    features[60] = features[20]
    with pytest.raises(ContractError, match="have equal features and belong to two people"):
        probe_encoder("mae", features, labels, settings)


def test_a_duplicate_within_a_family_and_few_numbers_do_not(corpus):
    labels, features = corpus[0].copy(), corpus[1].copy()
    features[60] = features[20]
    check_duplicates(features[:, :2].round(), labels)
    labels.loc[60, "group_id"] = labels.loc[20, "group_id"]
    check_duplicates(features, labels)
