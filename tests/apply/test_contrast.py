"""Names and descriptions as they are found in the wild, and the contrast that they give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.apply.contrast import OTHERS, keep_protocol_words, parse_modality, parse_session, parse_subject
from braing3n.core.bids import SUFFIXES, entities, label

CONTRASTS = {
    "T1": "t1 T1w p7_t1 3DT1 t1_mprage_sag_p2_iso MPRAGE_GRAPPA2 Sag_IR-FSPGR T1_FLAIR T1_pre_contrast "
    "t1_mp2rage_sag_p3_UNI_Images sub-1_UNIT1 "
    "AX_T1_WITHOUT_CONTRAST BraTS-GLI-00001-000-t1n t1_mpr_ns_sag BRAVO",
    "T1c": "t1c t1ce T1Gd T1_post T1w_CE AX_T1_+C t1_mprage_sag_KM BraTS-GLI-00001-000-t1c MPRAGE_post_Gad",
    "T2": "t2 T2w t2_tse_tra Axial_PD-T2_TSE_FS T2_SPACE t2_tse_restore BraTS-GLI-00001-000-t2w",
    "FLAIR": "flair t2_flair Sag_3D_T2_FLAIR_CUBE t2_tirm_dark-fluid BraTS-GLI-00001-000-t2f patient_fla",
    "": "scan image PAT1 brain_1mm T2_MPRAGE",  # the last names both: a second time point, perhaps
    "-an inversion image of MP2RAGE, not its UNI": "t1_mp2rage_sag_p3_INV1 mp2rage_INV2 inv-1_MP2RAGE",
    "-made from another series": "t1_mp2rage_sag_p3_T1_Images T1_map",
    "-no magnitude image": "sub-1_part-phase_T1w sub-1_part-imag_T1w sub-1_part-real_T1w",
    "-a localiser": "localizer 3-plane_loc AAHead_Scout Survey_SHC",
    "-a segmentation or mask": "seg p7_t1_seg lesion_mask",
    "-diffusion": "ep2d_diff_3scan_trace_ADC DTI_30dir DWI",
    "-susceptibility or T2*": "T2*_GRE t2_star swi",
    "-functional": "ep2d_bold_rest resting_state",
    "-proton density": "PD_TSE",
}


@pytest.mark.parametrize(
    ("text", "modality"),
    [(text, modality) for modality, texts in CONTRASTS.items() for text in texts.split()],
)
def test_the_contrast(text, modality):
    assert parse_modality(text) == modality


@pytest.mark.parametrize(
    ("stem", "subject"),
    [
        ("sub-03_ses-1_inplaneT2", "03"),
        ("t1", ""),
        ("scan", ""),
        ("p7_t1", "p7"),
        ("p7_T1_post", "p7"),
        ("BraTS-GLI-00001-000-t1c",) * 2,
    ],
)
def test_whose_scan_it_is(stem, subject):
    assert parse_subject(stem) == subject.removesuffix("-t1c")


LABELS = st.text(st.characters(max_codepoint=127, categories=["L", "N"]), min_size=1, max_size=6)
WORDS = st.sampled_from([word for texts in CONTRASTS.values() for word in texts.split()])


@given(st.text() | st.lists(WORDS, max_size=3).map("_".join))
def test_words_of_any_kind_tell_one_contrast_in_any_case(text):
    found = parse_modality(text)
    assert found in {*SUFFIXES, "", "-proton density", *(f"-{what}" for what in OTHERS.values())}
    assert parse_modality(text.upper()) == found
    assert parse_modality(f" {text}- ") == found


@given(LABELS, LABELS | st.just(""), st.sampled_from(sorted(SUFFIXES)))
def test_a_bids_name_tells_whose_scan_it_is(subject, session, modality):
    stem = f"{entities(subject, session, '', modality)}_{SUFFIXES[modality]}"
    assert (parse_subject(stem), parse_session(stem)) == (subject, session)


@given(st.text() | st.lists(LABELS | WORDS, max_size=4).map("_".join))
def test_a_subject_of_any_name_makes_a_label_or_is_empty(stem):
    subject = parse_subject(stem)
    assert subject == "" or label(subject)


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("t1_mprage_sag_p2_iso", "t1_mprage_sag_p2_iso"),
        ("ep2d_diff_30dir_ADC", "ep2d_diff_30dir_ADC"),
        ("AX T1 1mm", "AX T1 1mm"),
        ("Smith t1 John", "… t1 …"),
        ("P0012 t1", "… t1"),
        ("1945 t1", "… t1"),
        ("t1 3.1.45", "t1 …"),
        ("0 4 0 7 7 6", "…"),
        ("19450312DIR t1", "… t1"),
        ("\u0663\u0664\u0665 t1", "… t1"),
        ("\uff11\uff19\uff14\uff15 t1", "… t1"),
        ("O'Neil t1", "… t1"),
        ("a.b@c.org t2", "… t2"),
        ("   ", ""),
    ],
)
def test_words_of_protocols_alone_are_kept_of_a_description(description, shown):
    assert keep_protocol_words(description) == shown
