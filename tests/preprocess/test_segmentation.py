"""The tumour masks that cohorts ship, from their own layouts to SRI24, on phantoms with a planted tumour."""

import json

import nibabel as nib
import numpy as np
import pytest

from braing3n.cohort import load_cohort, settle_options
from braing3n.config import CohortSettings, PreprocessSettings, ResourceSettings
from braing3n.inventory.build import walk_cohort, write_inventory
from braing3n.inventory.miniature import write_raw_tree
from braing3n.phantoms.scanner import TUMOUR_CODES
from braing3n.preprocess.shard import preprocess_shard

WHEELS = ("sri24", "brain-templates", "head-template")
CASES = {"upenn_gbm": "UPENN-GBM-90001", "ucsf_pdgm": "UCSF-PDGM-9004"}


@pytest.mark.parametrize("kind", CASES)
def test_a_shipped_tumour_mask_lies_on_the_tumour(kind, tmp_path, monkeypatch, fetch_resource):
    resources = ResourceSettings(paths={name: str(fetch_resource(name)) for name in WHEELS})
    monkeypatch.chdir(tmp_path)
    cohort, raw = load_cohort(kind), tmp_path / "raw"
    write_raw_tree(raw, kind, cohort, {"spacing_mm": 3.0}, resources)
    walk = walk_cohort(kind, cohort, raw, settle_options(kind, cohort, {}), tmp_path / "inventory")
    walk.scans = [scan for scan in walk.scans if scan.subject_id == CASES[kind]]
    write_inventory(kind, CohortSettings(raw_dir=str(raw), n_shards=1), walk, tmp_path / "inventory")
    settings = PreprocessSettings(spacing_mm=3.0, n4_iterations=(10, 10))
    shard = tmp_path / "inventory" / "shard-000.tsv"
    table = preprocess_shard(shard, tmp_path / "store", tmp_path / "table.parquet", settings, resources, 1)
    assert (table["status"] == "kept").all(), table["reason"].tolist()
    described = json.loads(next(cell for cell in table["segmentations"] if cell))["tumour"]
    assert described["carried_share"] == pytest.approx(1, abs=0.15)
    image = nib.load(described["path"])
    labels = np.asarray(image.dataobj)
    assert set(np.unique(labels)) == {0, *TUMOUR_CODES.values()}
    volumes = table.set_index("modality")["path"]
    mask = np.asarray(nib.load(table["mask_path"].iloc[0]).dataobj) > 0
    assert np.allclose(nib.load(volumes["T1"]).affine, image.affine)
    for modality, name in (("T1c", "ring"), ("FLAIR", "oedema")):
        volume = np.asarray(nib.load(volumes[modality]).dataobj)
        inside = volume[labels == TUMOUR_CODES[name]]
        assert np.median(inside) > np.percentile(volume[mask], 90), (modality, name)
