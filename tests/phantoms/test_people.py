"""The phantoms' table: balanced, so that nothing planted is confounded."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braing3n.core.errors import ConfigurationError
from braing3n.phantoms.effects import MARKER_MM
from braing3n.phantoms.people import apportion, draw_people, tabulate


@pytest.fixture(scope="module")
def people():
    return draw_people(104, 2025)


@pytest.mark.parametrize("n", [1, 6, 12, 104])
def test_shares_become_whole_numbers_that_sum(n):
    counts = apportion(n, [0.5, 0.3, 0.2])
    assert sum(counts) == n
    assert min(counts) >= 0
    assert all(abs(count - n * share) < 1 for count, share in zip(counts, [0.5, 0.3, 0.2], strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2025])
def test_sex_is_independent_of_age_head_size_disease_and_site(seed):
    table = tabulate(draw_people(2000, seed))
    is_female = table.sex == "F"
    assert abs(roc_auc_score(is_female, table.control_head_size) - 0.5) < 0.05
    assert abs(roc_auc_score(is_female, table.age) - 0.5) < 0.05
    for _, cell in table.groupby("group"):
        assert abs((cell.sex == "F").sum() - (cell.sex == "M").sum()) <= 1
    assert is_female.groupby(table.site).mean().between(0.4, 0.6).all()


def test_the_decoy_lives_at_one_site_with_enough_controls(people):
    table = tabulate(people)
    site = table.site[table.control_decoy == "case"].mode()[0]
    there = table[table.site == site]
    assert (there.control_decoy == "case").sum() >= 12
    assert (there.control_decoy == "control").sum() >= 8
    assert (there.control_decoy == "control").sum() < 0.3 * (table.control_decoy == "control").sum()


def test_diseases_are_crossed_with_sites(people):
    table = tabulate(people)
    counts = table[table.group.isin(["HC", "AD", "GBM"])].groupby(["group", "site"]).size().unstack()
    assert counts.notna().all().all()
    assert counts.shape == (3, 4)


def test_tumours_keep_clear_of_the_marker_and_its_mirror_image():
    tumours = [person.tumour for person in draw_people(400, 3) if person.tumour]
    assert len(tumours) > 40
    assert min(np.linalg.norm(np.abs(t.centre_mm) - np.abs(MARKER_MM)) for t in tumours) > 32
    assert all((person.idh1 != "") == (person.dx == "GBM") for person in draw_people(40, 3))


def test_further_tumours_have_a_t1c_alone_and_leave_the_others_as_they_are():
    before, after = draw_people(30, 4), draw_people(30, 4, n_tumours=16)
    assert after[:30] == before
    further = after[30:]
    assert len(further) == 16
    assert {(person.dx, person.modalities, person.visit_years) for person in further} == {
        ("GBM", ("T1c",), (0.0,))
    }
    assert (
        len({person.subject_id for person in after}) == len({person.tumour for person in further}) + 30 == 46
    )
    table = tabulate(further)
    assert table.groupby(["site", "idh1"]).size().min() >= 1
    assert table.sex.value_counts().tolist() == [8, 8]
    assert table.age.max() - table.age.min() > 50


def test_two_cohorts_share_neither_people_nor_sites():
    one, two = (tabulate(draw_people(12, 1, prefix=prefix)) for prefix in ("P", "Q"))
    assert not set(one.participant_id) & set(two.participant_id)
    assert not set(one.site) & set(two.site)


def test_too_many_sites_is_one_sentence():
    with pytest.raises(ConfigurationError, match="n_sites is 9"):
        draw_people(10, 1, n_sites=9)
