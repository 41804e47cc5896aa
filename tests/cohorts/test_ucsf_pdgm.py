"""UCSF-PDGM's other copies, the diagnosis by name, and every mutation that its chapter lists."""

import re

import pytest

from braing3n.cohort import load_cohort, settle_options
from braing3n.cohort.records import CohortTables
from braing3n.cohort.tables import is_table, read_table_file
from braing3n.inventory.scans import find_scans

from .fixtures import SPECIFICATIONS, read_chapter
from .trees import run_ingest

UCSF = load_cohort("ucsf_pdgm")
HEADER = "ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021),MGMT status,1p/19q,IDH"


def read(folder, cells, **options):
    """The record of case 0004 with these cells behind its id."""
    table = folder / "UCSF-PDGM-metadata_v5.csv"
    table.write_text(f"{HEADER}\nUCSF-PDGM-004,{cells}\n")
    reader = CohortTables(UCSF, [table], settle_options("ucsf_pdgm", UCSF, options))
    record = reader.read({"subject": "UCSF-PDGM-0004"})
    reader.check_codes("ucsf_pdgm")
    return record


def list_mutations():
    """What the chapter's line about `IDH` has between backticks, `p.R132H/C` taken apart."""
    line = re.search(r"^- `IDH` (.*?)\*\*anything", read_chapter("ucsf_pdgm"), re.MULTILINE)[1]
    found = []
    for name in re.findall(r"`([^`]*)`", line):
        first, *others = name.split("/")
        found += [first, *(first[:-1] + letter for letter in others)]
    return found


def test_every_listed_mutation_is_one():
    if not SPECIFICATIONS.is_dir():
        pytest.skip("../shared/cohorts is not beside this checkout")
    names = list_mutations()
    assert len(names) >= 9
    (whole,), (first,) = UCSF.fields["idh"], UCSF.fields["idh1"]
    for name in names:
        is_second_gene = name.startswith("IDH2") or name == "wildtype"
        assert whole.codes[name] == ("wildtype" if name == "wildtype" else "mutant"), name
        assert first.codes[name] == ("wildtype" if is_second_gene else "mutant"), name
    assert set(whole.codes) == set(first.codes) == set(names)


@pytest.mark.parametrize(("rule", "dx"), [("grade", "GBM"), ("diagnosis", "Glioma")])
def test_the_rule_of_the_diagnosis(tmp_path, rule, dx):
    record = read(tmp_path, 'F,34,4,"Astrocytoma, IDH-mutant",positive,intact,wildtype', dx_rule=rule)
    assert (record["dx"], record["dx_by_grade"], record["dx_by_diagnosis"]) == (dx, "GBM", "Glioma")
    assert record["dx_detail"] == "Astrocytoma, IDH-mutant"


def test_what_is_unknown_is_empty(tmp_path):
    record = read(tmp_path, ',,3,"Astrocytoma, IDH-mutant",indeterminate,unknown,mutated (NOS)')
    assert (record["mgmt"], record["sex"], record["codeletion_1p19q"]) == ("", "", "")
    assert (record["idh"], record["idh_detail"], record["grade"]) == ("mutant", "mutated (NOS)", "3")


def test_the_plain_copies_are_those_of_the_option(open_case, tmp_path):
    kind, _, root, outcome = open_case("ucsf_pdgm")
    plain = run_ingest(kind, root / "raw", tmp_path, {"files": "plain"}).records
    assert plain["subject_id"].tolist() == ["UCSF-PDGM-9004"] * 4
    assert sorted(plain["modality"]) == ["FLAIR", "T1", "T1c", "T2"]
    assert not plain["is_bias_corrected"].any()
    assert outcome.records["is_bias_corrected"].all()
    for records in (plain, outcome.records):
        assert records["is_stripped"].all()
        assert set(records["raw_space"]) == {"coregistered"}


def test_the_mask_of_a_follow_up_stays_with_the_follow_up(tmp_path):
    case = "UCSF-PDGM-0901"
    for name in (f"{case}_FU016d_nifti/{case}_FU016d", f"{case}_nifti/{case}"):
        for end in ("T1_bias", "tumor_segmentation"):
            path = tmp_path / f"{name}_{end}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(name.encode())
    walk = find_scans(UCSF, tmp_path, "ucsf_pdgm", settle_options("ucsf_pdgm", UCSF, {}), lambda *_: {})
    (scan,) = walk.scans
    assert scan.segmentations == {
        "tumour": (tmp_path / f"{case}_nifti/{case}_tumor_segmentation.nii.gz").as_posix()
    }


def test_the_glossary_beside_the_table_is_no_table(tmp_path):
    (tmp_path / "UCSF-PDGM-metadata_glossary.csv").write_text("ID,Meaning\nSex,of the patient\n")
    record = read(tmp_path, 'F,34,4,"Astrocytoma, IDH-mutant",positive,intact,wildtype')
    assert record["sex"] == "F"
    glossary, table = sorted(tmp_path.glob("*.csv"))
    assert read_table_file(glossary, UCSF.tables[0]) is None
    assert not is_table(glossary, UCSF.tables[0])
    assert is_table(table, UCSF.tables[0])
