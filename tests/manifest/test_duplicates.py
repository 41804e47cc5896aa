"""One brain under two people's ids is found; rescans of one person and mere neighbours are not."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from braing3n.config import VolumesSettings
from braing3n.core.contracts import write_table
from braing3n.inventory.contracts import INVENTORY
from braing3n.manifest import duplicates
from braing3n.manifest.duplicates import describe_pairs, find_near_duplicates, find_pairs
from braing3n.manifest.quality.picture import draw_pairs
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.dataset import list_indices
from braing3n.volumes.pack import pack_shard

SPACING_MM = 2.0
SHAPE = (120, 120, 78)
SETTINGS = VolumesSettings(spacing_mm=SPACING_MM, shape=(80, 96, 80))
THRESHOLD = 0.6
N_PEOPLE = 12


def draw_field(seed, smoothness):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), smoothness)
    return (field / field.std()).astype(np.float32)


class Corpus:
    """Invented brains: what all people share, each person's own folds, each scan's shading and noise."""

    def __init__(self, folder):
        self.folder, self.scans, self.tables = folder, [], []
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
        self.mask = (grid**2).sum(axis=0) < 0.55
        self.shared = 5 + 1.5 * draw_field(0, 2)

    def add(self, person, brain, noise=0.1, scan=0, cohort="one", **cells):
        seed = 1000 * brain + scan
        image = self.shared + 0.8 * draw_field(brain + 1, 2.5)
        image *= 1 + 0.2 * draw_field(seed + 1, 30)
        image += noise * np.random.default_rng(seed).standard_normal(SHAPE)
        name = f"{cohort}_sub-{person}" + (f"_ses-{scan}" if scan else "") + "_T1"
        for kind, array in (("image", image * self.mask), ("mask", self.mask)):
            path = self.folder / f"{name}_{kind}.nii.gz"
            nib.save(nib.Nifti1Image(array.astype(np.float32), np.diag([-2, -2, 2, 1])), path)
        row = {"cohort": cohort, "subject_id": person, "session_id": str(scan) if scan else "", "run": ""}
        row |= {"modality": "T1", "volume_id": name, "raw_sha256": name, "status": "kept", "group_id": ""}
        row |= {"person_id": f"{cohort}/{person}", "path": str(self.folder / f"{name}_image.nii.gz")}
        row |= {"mask_path": str(self.folder / f"{name}_mask.nii.gz"), "raw_space": "native"} | cells
        row["group_id"] = row["group_id"] or row["person_id"]
        self.scans.append(row)
        return name

    def pack(self):
        table = pd.DataFrame(self.scans)
        for cohort, rows in table.groupby("cohort"):
            path = self.folder / "preprocess" / cohort / "shard-000.parquet"
            numbers = {
                "native_brain_ml": 1400.0,
                "affine_determinant": 1.0,
                "atlas_dice": 1.0,
                "n_refused": 0,
            }
            kinds = {name: kind for name, (kind, _) in PREPROCESS.items()}
            others = set(kinds) - set(rows) - set(numbers)
            blank = {name: float("nan") if kinds[name] is float else "" for name in others}
            write_table(rows.assign(**blank, **numbers), path, PREPROCESS)
            base = self.folder / "volumes" / cohort / "shard-000"
            base.parent.mkdir(parents=True)
            pack_shard(path, base.with_suffix(".b2nd"), base.with_suffix(".parquet"), SETTINGS)
            kinds = {name: kind for name, (kind, _) in INVENTORY.items()}
            blank = {name: 0 if kind is int else "" for name, kind in kinds.items() if name not in rows}
            scans = rows.assign(**blank | {"source_format": "NIfTI"})[list(kinds)]
            inventory = self.folder / "inventory" / cohort / "shard-000.tsv"
            inventory.parent.mkdir(parents=True)
            scans.to_csv(inventory, sep="\t", index=False)
            self.tables.append(path)
        return self

    def find(self):
        folders = self.folder / "inventory", self.folder / "volumes"
        return find_near_duplicates(self.tables, *folders, SPACING_MM, THRESHOLD)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twelve people; one scanned twice, one also in another cohort with noise, one copied in a family."""
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    for number in range(N_PEOPLE):
        corpus.add(f"{number:02d}", brain=number)
    corpus.add("00", brain=0, scan=1)
    corpus.add("77", brain=3, noise=0.6, scan=1, cohort="two")
    corpus.add("78", brain=5, cohort="two", raw_sha256="one_sub-05_T1")
    corpus.add("79", brain=7, cohort="two", group_id="one/07")
    corpus.add("80", brain=99, cohort="two")
    return corpus.pack()


def test_planted_pairs_are_found_and_nothing_else(corpus):
    pairs = corpus.find()
    found = {(row.volume_id, row.other_volume_id): row for row in pairs.itertuples()}
    assert set(found) == {
        ("one_sub-03_T1", "two_sub-77_ses-1_T1"),
        ("one_sub-05_T1", "two_sub-78_T1"),
        ("one_sub-07_T1", "two_sub-79_T1"),
    }
    assert found["one_sub-05_T1", "two_sub-78_T1"].is_same_file
    assert found["one_sub-07_T1", "two_sub-79_T1"].is_same_group
    noisy = found["one_sub-03_T1", "two_sub-77_ses-1_T1"]
    assert not noisy.is_same_file
    assert not noisy.is_same_group
    assert THRESHOLD <= noisy.correlation < 0.99
    sentence = describe_pairs(pairs, THRESHOLD)
    assert sentence.startswith("manifest: 3 pairs of volumes under two people's ids look like one brain")


def test_blocks_find_what_one_matrix_finds(corpus, monkeypatch):
    details = np.random.default_rng(0).integers(-80, 80, (11, 500)).astype(np.int8)
    details[9] = details[2]
    details[9, ::4] = 0
    people = np.arange(11)
    people[7] = people[6]
    rest = details - details.mean(axis=0)
    expected = np.corrcoef(rest)
    monkeypatch.setattr(duplicates, "BLOCK_VOLUMES", 3)
    found = {(i, j): r for i, j, r in find_pairs(details, people, -1.0)}
    assert set(found) == {(i, j) for j in range(11) for i in range(j) if (i, j) != (6, 7)}
    assert max(abs(found[pair] - expected[pair]) for pair in found) < 1e-5
    assert {pair for pair, r in found.items() if r > THRESHOLD} == {(2, 9)}


def test_the_closest_pairs_are_drawn(corpus, tmp_path):
    indices = list_indices(corpus.tables, corpus.folder / "volumes")
    sizes = []
    for pairs in (corpus.find(), corpus.find().iloc[:0]):
        draw_pairs(pairs, indices, tmp_path / "pairs.png")
        sizes.append((tmp_path / "pairs.png").stat().st_size)
    assert sizes[0] > 3 * sizes[1]
