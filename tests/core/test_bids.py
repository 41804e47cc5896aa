"""File names from entities."""

import pytest

from braing3n.core.bids import derivative_path, label, volume_id
from braing3n.core.errors import CohortError


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
