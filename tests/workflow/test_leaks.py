"""Three cohorts of eighteen, with people under second ids: each found, and on one side of the split."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from braing3n.cohort import load_cohort
from braing3n.config import ResourceSettings
from braing3n.core.accounting import assign_shard
from braing3n.inventory.miniature import write_raw_tree

from .conftest import SMOKE, link_wheels, snakemake

pytestmark = pytest.mark.workflow
KINDS = ("hcp_ya", "nki_rs", "nki_rs2")
COPIED, COPY = "A00099904", "A00099977"  # of NKI-RS, both
NOISY, DISGUISED = "A00099902", "M10999066"  # of NKI-RS, and of NKI-RS 2
FAMILY = "900001", "900003"
N_SHARDS = next(n for n in range(2, 9) if len({assign_shard("hcp_ya", name, n) for name in FAMILY}) == 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory, fetch_resource):
    """The results of a run that ends with the manifest, and all that was printed."""
    directory = tmp_path_factory.mktemp("leaks")
    link_wheels(directory, fetch_resource)
    wheels = {name: str(fetch_resource(name)) for name in ("brain-templates", "head-template")}
    settings = yaml.safe_load(SMOKE.read_text()) | {"run": "leaks", "cohorts": {}}
    for kind in KINDS:
        raw = directory / "raw" / kind
        write_raw_tree(raw, kind, load_cohort(kind), {"spacing_mm": 3.0}, ResourceSettings(paths=wheels))
        n_shards = N_SHARDS if kind == "hcp_ya" else 1
        settings["cohorts"][kind] = {"raw_dir": str(raw), "n_shards": n_shards}
    plant(directory / "raw")
    config = directory / "leaks.yaml"
    config.write_text(yaml.safe_dump(settings))
    done = snakemake(directory, "manifest", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory / "results" / "leaks", done.stdout + done.stderr


def plant(raw):
    """Copy one scan under another id; hide another in another cohort: noise, a gain, another orientation."""
    source = next((raw / "nki_rs" / f"sub-{COPIED}").rglob("*_T1w.nii.gz"))
    target = raw / "nki_rs" / f"sub-{COPY}" / "ses-BAS1" / "anat" / f"sub-{COPY}_ses-BAS1_T1w.nii.gz"
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    image = nib.load(next((raw / "nki_rs" / f"sub-{NOISY}").rglob("*_T1w.nii.gz")))
    voxels = 2.5 * image.get_fdata()
    voxels += np.random.default_rng(0).normal(0, 0.03 * np.percentile(voxels, 99), voxels.shape)
    noisy = nib.as_closest_canonical(nib.Nifti1Image(np.maximum(voxels, 0).astype(np.float32), image.affine))
    target = raw / "nki_rs2" / f"sub-{DISGUISED}" / "anat" / f"sub-{DISGUISED}_T1w.nii.gz"
    target.parent.mkdir(parents=True)
    nib.save(noisy, target)


@pytest.fixture(scope="module")
def volumes(run):
    """The volume list."""
    return pd.read_parquet(run[0] / "manifest" / "volume_list.parquet")


def find_person(volumes, cohort, subject_id):
    """The one person, group and split of a cohort's subject."""
    rows = volumes[(volumes["cohort"] == cohort) & (volumes["subject_id"] == subject_id)]
    assert len(rows) >= 1, f"{cohort} {subject_id}"
    (found,) = {tuple(row) for row in rows[["person_id", "group_id", "split"]].to_numpy()}
    return found


def test_one_person_in_two_cohorts_is_one_person(volumes):
    assert find_person(volumes, "nki_rs", "A00099901") == find_person(volumes, "nki_rs2", "A00099901")


def test_a_family_in_two_shards_is_on_one_side(volumes):
    family = [find_person(volumes, "hcp_ya", name) for name in FAMILY]
    shards = volumes[(volumes["cohort"] == "hcp_ya") & volumes["subject_id"].isin(FAMILY)]["shard"]
    assert shards.nunique() == 2
    assert family[0][0] != family[1][0]
    assert family[0][1:] == family[1][1:]


def test_a_copied_scan_is_reported_and_one_person(run, volumes):
    assert find_person(volumes, "nki_rs", COPIED) == find_person(volumes, "nki_rs", COPY)
    log = (run[0].parents[1] / "logs" / "leaks" / "manifest" / "volume_list.log").read_text()
    assert "one raw file under several ids" in log
    assert COPY in log


def test_a_disguised_scan_is_found_and_on_one_side(run, volumes):
    pairs = pd.read_parquet(run[0] / "manifest" / "near_duplicates.parquet")
    found = {frozenset((row.person_id, row.other_person_id)): row for row in pairs.itertuples()}
    disguise = frozenset((f"nki/{NOISY}", f"nki/{DISGUISED}"))
    assert set(found) == {disguise, frozenset((f"nki/{COPIED}", f"nki/{COPY}"))}
    assert found[disguise].correlation < 0.999
    assert not found[disguise].is_same_file
    one, other = find_person(volumes, "nki_rs", NOISY), find_person(volumes, "nki_rs2", DISGUISED)
    assert one[1:] == other[1:]
    assert (run[0] / "manifest" / "near_duplicates.png").stat().st_size > 10_000


def test_no_group_is_in_two_splits_and_none_is_empty(volumes):
    assert (volumes.groupby("group_id")["split"].nunique() == 1).all()
    assert set(volumes["split"]) == {"train", "validation", "test"}


def test_the_volume_list_records_what_it_was_made_of(run):
    assert json.loads((run[0] / "manifest" / "volume_list.parquet.json").read_text())["inputs"]
