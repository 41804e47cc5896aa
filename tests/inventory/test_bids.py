"""The scans of BIDS trees: entities, states, choices, and what belongs to no rule."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braing3n.config import CohortSettings, parse_config
from braing3n.core.errors import CohortError
from braing3n.inventory.bids import find_bids_scans
from braing3n.inventory.build import build_inventories, write_inventory


def write_tree(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_entities_tell_modality_state_and_space(tmp_path):
    anat = "sub-01/ses-a/anat/sub-01_ses-a"
    names = [
        f"{anat}_T1w.nii.gz",
        f"{anat}_ce-gadolinium_T1w.nii.gz",
        f"{anat}_space-MNI152NLin6Asym_desc-brain_T2w.nii",
        f"{anat}_space-SRI24_FLAIR.nii.gz",
        "sub-02/anat/sub-02_run-2_T1w.nii.gz",
    ]
    walk = find_bids_scans(write_tree(tmp_path, names), "mine")
    found = {
        (s.subject_id, s.session_id, s.run, s.modality): (s.is_stripped, s.raw_space) for s in walk.scans
    }
    assert found == {
        ("01", "a", "", "T1"): (False, "native"),
        ("01", "a", "", "T1c"): (False, "native"),
        ("01", "a", "", "T2"): (True, "mni"),
        ("01", "a", "", "FLAIR"): (False, "sri24"),
        ("02", "", "2", "T1"): (False, "native"),
    }
    assert not walk.unused


def test_a_file_of_no_rule_is_reported_with_its_reason(tmp_path):
    names = [
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_inplaneT2.nii.gz",
        "sub-01/anat/sub-01_desc-weird_T1w.nii.gz",
        "sub-01/anat/sub-01_space-mars_T1w.nii.gz",
        "sub-01/anat/notes.docx",
        "derivatives/x/sub-01_T1w.nii.gz",
        "dataset_description.json",
    ]
    walk = find_bids_scans(write_tree(tmp_path, names), "mine")
    assert len(walk.scans) == 1
    reasons = {path.rsplit("/", 1)[-1]: reason for path, reason in walk.unused.items()}
    assert "inplaneT2" in reasons["sub-01_inplaneT2.nii.gz"]
    assert "desc-weird" in reasons["sub-01_desc-weird_T1w.nii.gz"]
    assert "space-mars" in reasons["sub-01_space-mars_T1w.nii.gz"]
    assert set(reasons) >= {"notes.docx", "derivatives"}


def test_of_two_files_of_one_volume_the_rawer_is_taken(tmp_path):
    names = ["sub-01/anat/sub-01_desc-brain_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz"]
    walk = find_bids_scans(write_tree(tmp_path, names), "mine")
    assert [scan.path.rsplit("/", 1)[-1] for scan in walk.scans] == ["sub-01_T1w.nii.gz"]
    assert "is taken" in walk.left_out[0][1]
    assert [Path(spare.path).name for spare in walk.scans[0].spares] == ["sub-01_desc-brain_T1w.nii.gz"]


def test_a_whole_head_is_taken_before_a_slab_and_unit1_where_it_is_accepted(tmp_path):
    names = ["acq-hippo_T1w", "acq-whole_T1w", "part-imag_T1w", "inv-1_part-mag_T1w", "UNIT1"]
    paths = [f"sub-01/anat/sub-01_{name}.nii.gz" for name in names]
    paths += ["sub-02/anat/sub-02_UNIT1.nii.gz", "sub-02/anat/sub-02_inv-1_MP2RAGE.nii.gz"]
    write_tree(tmp_path, paths)
    for name, n_slices in (("acq-hippo_T1w", 20), ("acq-whole_T1w", 90), ("UNIT1", 90)):
        image = nib.Nifti1Image(np.zeros((90, 110, n_slices), np.uint8), np.diag([2.0, 2, 2, 1]))
        nib.save(image, tmp_path / f"sub-01/anat/sub-01_{name}.nii.gz")
    for options, subjects in (({}, ["01"]), ({"accept_unit1": True}, ["01", "02"])):
        walk = find_bids_scans(tmp_path, "mine", options)
        assert [scan.subject_id for scan in walk.scans] == subjects
        assert walk.scans[0].path.endswith("sub-01_acq-whole_T1w.nii.gz")
        assert {scan.modality for scan in walk.scans} == {"T1"}
    reasons = {path.rsplit("/", 1)[-1]: reason for path, reason in walk.unused.items()}
    assert "part-imag is not the magnitude" in reasons["sub-01_part-imag_T1w.nii.gz"]
    assert "inv-1 is an inversion image" in reasons["sub-01_inv-1_part-mag_T1w.nii.gz"]


def test_a_missing_folder_and_a_missing_id_column_are_one_sentence(tmp_path):
    with pytest.raises(CohortError, match=r"raw folder .* does not exist"):
        find_bids_scans(tmp_path / "nowhere", "mine")
    (tmp_path / "participants.tsv").write_text("who\tage\nsub-01\t3\n")
    with pytest.raises(CohortError, match="no column 'participant_id'"):
        find_bids_scans(tmp_path, "mine")


def test_a_replaced_scan_changes_its_shard_and_not_what_ingest_reads(tmp_path):
    names = [f"sub-{i:02d}/anat/sub-{i:02d}_T1w.nii.gz" for i in range(20)]
    raw = write_tree(tmp_path / "raw", names)
    settings = CohortSettings(kind="bids", raw_dir=str(raw), n_shards=4)
    out = tmp_path / "inventory"

    def snapshot():
        write_inventory("mine", settings, find_bids_scans(raw, "mine"), out)
        return {path.name: path.read_text() for path in sorted(out.glob("*.tsv"))}

    before = snapshot()
    assert sum(len(text.splitlines()) - 1 for name, text in before.items() if name.startswith("shard")) == 20
    (raw / names[3]).write_bytes(b"another scan")
    replaced = snapshot()
    changed = {name for name in before if before[name] != replaced[name]}
    assert len(changed) == 1
    assert changed.pop().startswith("shard-")
    write_tree(raw, ["sub-99/anat/sub-99_T1w.nii.gz"])
    added = snapshot()
    changed = {name for name in before if replaced[name] != added[name]}
    assert "scans.tsv" in changed
    assert len(changed) == 2, "an added subject touches its own shard alone"


def test_an_unchanged_folder_leaves_the_inventory_untouched(tmp_path):
    raw = write_tree(tmp_path / "raw", ["sub-01/anat/sub-01_T1w.nii.gz", "participants.tsv"])
    (raw / "participants.tsv").write_text("participant_id\nsub-01\n")
    settings = CohortSettings(kind="bids", raw_dir=str(raw))
    out = tmp_path / "inventory"
    write_inventory("mine", settings, find_bids_scans(raw, "mine"), out)
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    write_inventory("mine", settings, find_bids_scans(raw, "mine"), out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == times


def test_what_was_delineated_goes_with_the_visits_first_scan(tmp_path):
    anat = "sub-01/ses-a/anat/sub-01_ses-a"
    names = [
        f"{anat}_FLAIR.nii.gz",
        f"{anat}_T2w.nii.gz",
        f"{anat}_label-lesion_mask.nii.gz",
        f"{anat}_desc-tumour_dseg.nii.gz",
        f"{anat}_desc-brain_mask.nii.gz",
        "sub-02/anat/sub-02_label-lesion_roi.nii.gz",
    ]
    walk = find_bids_scans(write_tree(tmp_path, names), "mine")
    found = {scan.modality: dict(scan.segmentations) for scan in walk.scans}
    root = tmp_path.as_posix()
    carried = {"lesion": f"{root}/{names[2]}", "tumour": f"{root}/{names[3]}"}
    assert found == {"T2": carried, "FLAIR": {}}
    assert walk.unused == {
        f"{root}/{names[4]}": "suffix 'mask' is not one of T1w, T2w, FLAIR",
        f"{root}/{names[5]}": "a segmentation (lesion) of a visit without a scan of ours",
    }
    stamp = walk.scans[0].stamp if walk.scans[0].modality == "T2" else walk.scans[1].stamp
    (tmp_path / names[2]).write_bytes(b"delineated anew")
    again = find_bids_scans(tmp_path, "mine")
    assert stamp not in {scan.stamp for scan in again.scans}, "a replaced mask is seen"


def test_a_sidecar_that_names_a_contrast_agent_makes_t1c(tmp_path):
    names = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"]
    write_tree(tmp_path, names)
    (tmp_path / "sub-01/anat/sub-01_T1w.json").write_text('{"ContrastBolusIngredient": "GADOLINIUM"}')
    (tmp_path / "sub-02/anat/sub-02_T1w.json").write_text('{"ContrastBolusIngredient": "NONE"}')
    assert [scan.modality for scan in find_bids_scans(tmp_path, "mine").scans] == ["T1c", "T1"]
    for name in ("T2w", "FLAIR"):  # after the agent a T2 is a T2 all the same
        write_tree(tmp_path, [f"sub-01/anat/sub-01_{name}.nii.gz"])
        (tmp_path / f"sub-01/anat/sub-01_{name}.json").write_text('{"ContrastBolusIngredient": "GADOLINIUM"}')
    found = [(scan.subject_id, scan.modality) for scan in find_bids_scans(tmp_path, "mine").scans]
    assert found == [("01", "FLAIR"), ("01", "T1c"), ("01", "T2"), ("02", "T1")]


def test_phase_and_imaginary_parts_are_no_scans(tmp_path):
    names = [
        f"sub-0{i}/anat/sub-0{i}_part-{part}_T1w.nii.gz" for i, part in enumerate(("mag", "phase", "imag"))
    ]
    walk = find_bids_scans(write_tree(tmp_path, names), "mine")
    assert [scan.subject_id for scan in walk.scans] == ["00"]
    assert set(walk.unused.values()) == {
        "part-phase is not the magnitude image",
        "part-imag is not the magnitude image",
    }


def test_what_bidsignore_names_is_left_alone(tmp_path):
    names = [f"sub-0{i}/anat/sub-0{i}_T1w.nii.gz" for i in range(1, 5)] + ["sub-05/extra/sub-05_T1w.nii.gz"]
    write_tree(tmp_path, names)
    (tmp_path / ".bidsignore").write_text(
        "# ours\nsub-02/\n*03_T1w*\n/sub-04/anat/sub-04_*\nextra/\n!sub-03_T1w.nii.gz\n"
    )
    walk = find_bids_scans(tmp_path, "mine")
    assert [scan.subject_id for scan in walk.scans] == ["01", "03"]
    assert set(walk.unused.values()) == {".bidsignore names it"}


def test_a_participants_table_in_any_form_is_accepted(tmp_path):
    write_tree(tmp_path, ["sub-01/anat/sub-01_T1w.nii.gz"])
    for content in (
        b"",
        '"Participant_ID";age\nsub-01;3\n'.encode("utf-16"),
        b"\xef\xbb\xbfparticipant_id\tage\n",
    ):
        (tmp_path / "participants.tsv").write_bytes(content)
        assert len(find_bids_scans(tmp_path, "mine").scans) == 1


@pytest.mark.parametrize("kind", ["bids", "abide1", "ppmi"])
def test_a_folder_without_a_scan_is_a_mistake_that_shows_known_layouts(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    for names in ([], ["KKI/readme.txt", "KKI/image.mgz"]):
        write_tree(tmp_path / "raw", names)
        (tmp_path / "raw").mkdir(exist_ok=True)
        config = parse_config({"run": "x", "cohorts": {"mine": {"kind": kind, "raw_dir": "raw"}}})
        with pytest.raises(CohortError, match="no scan is recognised in 'raw'") as caught:
            build_inventories(config)
        assert ("image.mgz" if names else "holds no image") in str(caught.value)
        assert any(word in str(caught.value) for word in ("T1w", "mprage", "MPRAGE"))


def test_a_folder_fills_a_missing_session_and_settles_nothing_else(tmp_path):
    raw = write_tree(
        tmp_path,
        [
            "sub-01/ses-a/anat/sub-01_T1w.nii.gz",
            "sub-01/ses-b/anat/sub-01_T1w.nii.gz",
            "sub-02/anat/sub-03_T1w.nii.gz",
            "sub-04/ses-a/anat/sub-04_ses-b_T1w.nii.gz",
            "sub-05/anat/sub-05_T1w.nii.gz",
        ],
    )
    walk = find_bids_scans(raw, "mine")
    assert [(scan.subject_id, scan.session_id) for scan in walk.scans] == [
        ("01", "a"),
        ("01", "b"),
        ("05", ""),
    ]
    reasons = {Path(path).name: reason for path, reason in walk.unused.items()}
    assert reasons["sub-03_T1w.nii.gz"] == "its name says sub-03 and its folder sub-02"
    assert reasons["sub-04_ses-b_T1w.nii.gz"] == "its name says ses-b and its folder ses-a"
    assert any("2 files" in text and "sub-03_T1w.nii.gz" in text for text in walk.warnings)


def test_a_combined_image_comes_before_echoes_and_of_a_t2_the_last_echo(tmp_path):
    names = [f"sub-01_acq-x_echo-{n}_{suffix}.nii.gz" for n in (1, 2, 10) for suffix in ("T1w", "T2w")]
    names += ["sub-01_acq-x_rec-rms_T1w.nii.gz", "sub-02_echo-1_T1w.nii.gz", "sub-02_echo-2_T1w.nii.gz"]
    walk = find_bids_scans(write_tree(tmp_path, [f"sub-{n[4:6]}/anat/{n}" for n in names]), "mine")
    assert [Path(scan.path).name for scan in walk.scans] == [
        "sub-01_acq-x_rec-rms_T1w.nii.gz",
        "sub-01_acq-x_echo-10_T2w.nii.gz",
        "sub-02_echo-1_T1w.nii.gz",
    ]


def test_links_to_nothing_are_counted_with_the_command_that_fetches_them(tmp_path):
    raw = write_tree(tmp_path, ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/note.txt"])
    dead = raw / "sub-02/anat/sub-02_T1w.nii.gz"
    dead.symlink_to("../../.git/annex/objects/a/b/c.nii.gz")
    walk = find_bids_scans(raw, "mine")
    assert any("1 files are links to nothing" in text and str(dead) in text for text in walk.warnings)
    assert any("datalad get" in text for text in walk.warnings)


def test_two_sessions_that_share_a_label_stop(tmp_path):
    names = [f"sub-01/ses-{name}/anat/sub-01_ses-{name}_T1w.nii.gz" for name in ("1.0", "10")]
    config = parse_config({"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": str(tmp_path)}}})
    write_tree(tmp_path, names)
    with pytest.raises(CohortError, match=r"'1\.0' and '10' of 01 give one BIDS label"):
        build_inventories(config)


def test_endings_in_other_case_and_other_tables_are_named(tmp_path):
    names = ["sub-01_T1w.NII.GZ", "sub-01_T1w.JSON", "participants.TSV", "phenotype/ages.tsv", "notes.docx"]
    walk = find_bids_scans(write_tree(tmp_path, [*names, "sub-02_T1w.nii"]), "mine")
    assert [walk.unused[str(tmp_path / name)] for name in names] == [
        "its ending is not '.nii.gz' in lower case; rename it",
        "its ending is not '.json' in lower case; rename it",
        "its ending is not '.tsv' in lower case; rename it",
        "a table that is not read",
        "not a NIfTI file",
    ]
