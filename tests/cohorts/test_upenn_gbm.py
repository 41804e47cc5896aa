"""UPENN-GBM's two masks of one tumour."""

from braing3n.cohort import load_cohort

from .trees import list_miniature, run_ingest, write_tree

NIFTI = "NIfTI-files"
CORRECTED = f"{NIFTI}/images_segm/UPENN-GBM-90001_11_segm.nii.gz"
APPROXIMATE = f"{NIFTI}/automated_segm/UPENN-GBM-90001_11_automated_approx_segm.nii.gz"


def test_the_readers_mask_comes_before_the_networks(tmp_path):
    miniature = load_cohort("upenn_gbm").miniature
    write_tree(tmp_path / "raw", list_miniature(miniature), miniature.tables)
    outcome = run_ingest("upenn_gbm", tmp_path / "raw", tmp_path / "both")
    corrected, approximate = (str(tmp_path / "raw" / name) for name in (CORRECTED, APPROXIMATE))
    assert outcome.segmentations == {corrected: "tumour"}
    assert outcome.unused[approximate] == f"a segmentation (tumour); {corrected} is taken"
    (tmp_path / "raw" / CORRECTED).unlink()
    outcome = run_ingest("upenn_gbm", tmp_path / "raw", tmp_path / "one")
    assert outcome.segmentations == {approximate: "tumour"}


def test_rows_of_follow_ups_that_are_left_out_are_not_called_without_a_scan(tmp_path):
    miniature = load_cohort("upenn_gbm").miniature
    write_tree(tmp_path / "raw", list_miniature(miniature), miniature.tables)
    name = "UPENN-GBM_clinical_info_v2.1.csv"
    (tmp_path / "raw" / name).write_text(miniature.tables[name] + "UPENN-GBM-99999_11,F,50,Alive,0,,,\n")
    outcome = run_ingest("upenn_gbm", tmp_path / "raw", tmp_path / "out")
    assert "1 ids of the table 'clinical' have no scan: UPENN-GBM-99999_11\n" in outcome.printed
