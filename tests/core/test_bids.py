"""File names from entities."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.core.bids import SUFFIXES, derivative_path, entities, label, volume_id
from braing3n.core.errors import CohortError
from braing3n.inventory.sidecars import split_name
from braing3n.manifest.quality.review import list_names
from braing3n.manifest.withdrawn import name_person

LABELS = st.text(st.characters(max_codepoint=127, categories=["L", "N"]), min_size=1, max_size=8)
MODALITIES = st.sampled_from(sorted(SUFFIXES))


def test_a_label_is_the_id_without_its_signs():
    assert label("011_S_0002") == "011S0002"
    assert label("Müller") != label("Möller")
    with pytest.raises(CohortError, match="no letter or digit"):
        label("__")


def test_paths_are_bids_derivatives():
    path = derivative_path("store", "adni", "011_S_0002", "m12", "2", "T1c")
    assert path.as_posix() == (
        "store/adni/sub-011S0002/ses-m12/anat/"
        "sub-011S0002_ses-m12_ce-gadolinium_run-2_space-SRI24_desc-preproc_T1w.nii.gz"
    )
    assert volume_id("adni", "1", "", "", "T2") == "adni_sub-1_T2"


@given(st.text())
def test_a_label_of_any_id_is_letters_and_digits_or_one_sentence(text):
    try:
        kept = label(text)
    except CohortError:
        assert not re.search("[0-9A-Za-z]", text)
        return
    assert re.fullmatch("[0-9A-Za-z]+", kept)
    assert label(kept) == kept
    assert "".join(re.findall("[0-9A-Za-z]", text)) in kept or not text.isascii()


@given(LABELS, LABELS | st.just(""), LABELS | st.just(""), MODALITIES)
def test_the_entities_of_a_name_read_back(subject, session, run, modality):
    found, suffix = split_name(f"{entities(subject, session, run, modality)}_{SUFFIXES[modality]}")
    ids = {"sub": subject, "ses": session, "run": run, "ce": "gadolinium" if modality == "T1c" else ""}
    assert found == {name: text for name, text in ids.items() if text}
    assert suffix == SUFFIXES[modality]


IDS = st.tuples(LABELS, LABELS | st.just(""), LABELS | st.just(""), MODALITIES)


@given(st.sampled_from(("lab", "oasis_2")), IDS, IDS)
def test_two_volumes_have_two_names_and_two_paths(cohort, one, other):
    names = {volume_id(cohort, *ids) for ids in (one, other)}
    paths = {derivative_path("store", cohort, *ids, kind="preproc") for ids in (one, other)}
    assert len(names) == len(paths) == len({one, other})


@given(st.sampled_from(("lab", "oasis_2")), IDS)
def test_a_volumes_name_tells_its_person_and_visit(cohort, ids):
    subject, session, *_ = ids
    name = volume_id(cohort, *ids)
    assert name_person(name) == f"{cohort}/sub-{subject}"
    names = list_names(name)
    assert names[0] == f"{cohort}_{entities(subject)}"
    assert names[-1] == name
    assert f"{cohort}_{entities(subject, session)}" in names
