"""Raw downloads of real cohorts, as miniatures, through all that reads them; each route, nobody's name."""

import gzip
import re
import subprocess
import sys

import nibabel as nib
import pandas as pd
import pytest
import yaml

from braing3n.phantoms.formats import PLANTED
from braing3n.phantoms.picture import find_left_marker

from .conftest import ROOT, SMOKE, copy_checkout, link_wheels, plan, snakemake

pytestmark = pytest.mark.workflow
TARGET = "manifest"
KINDS = ("abide1", "adni", "ixi", "oasis1", "ppmi")
# What preprocessing does to a scan of each cohort and format; a second scan of a visit follows its T1.
STEPS = {
    ("abide1", "NIfTI", "T1"): {"n4;extract:deepbet;affine"},
    ("adni", "NIfTI", "T1"): {"extract:deepbet;affine"},  # Mayo corrected the bias
    ("adni", "DICOM", "T1"): {"n4;extract:deepbet;affine"},
    ("ixi", "NIfTI", "T1"): {"n4;extract:deepbet;affine"},
    ("ixi", "NIfTI", "T2"): {"n4;rigid:T1;mask:T1;affine", "n4;extract:deepbet;affine"},
    ("oasis1", "Analyze", "T1"): {"extract:deepbet;affine"},
    ("ppmi", "DICOM", "T1"): {"n4;extract:deepbet;affine"},
    ("ppmi", "DICOM", "T2"): {"n4;rigid:T1;mask:T1;affine"},
    ("ppmi", "DICOM", "FLAIR"): {"n4;extract:deepbet;affine"},  # a visit without T1
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The smoke run's settings with the cohorts' miniatures in place of its cohorts."""
    settings = yaml.safe_load(SMOKE.read_text()) | {"run": "miniatures"}
    settings["cohorts"] = {kind: {"miniature": {"spacing_mm": 3.0}} for kind in KINDS}
    path = tmp_path_factory.mktemp("config") / "miniatures.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def run(config, tmp_path_factory, fetch_resource):
    """The folder of a run up to the manifest, with the tables of it, and all that was printed.

    No later stage reads a raw file, and test_plans runs those.
    """
    directory = tmp_path_factory.mktemp("miniatures")
    link_wheels(directory, fetch_resource)
    done = snakemake(directory, TARGET, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    results = directory / "results" / "miniatures"
    command = [sys.executable, "-m", "braing3n", "paper", "tables", "--results-dir", str(results)]
    command += ["--out-dir", str(results / "paper")]
    tables = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert tables.returncode == 0, tables.stderr[-3000:]
    return directory, done.stdout + done.stderr + tables.stdout + tables.stderr


def read_cohorts(directory):
    """Records and preprocess tables of all cohorts, joined."""
    results = directory / "results" / "miniatures"
    records = pd.concat([pd.read_parquet(results / "ingest" / f"{kind}.parquet") for kind in KINDS])
    tables = [pd.read_parquet(results / "preprocess" / kind / "shard-000.parquet") for kind in KINDS]
    done = pd.concat(tables)[["volume_id", "status", "reason", "steps", "path"]]
    return records.drop(columns="path").merge(done, on="volume_id", validate="one_to_one")


def test_every_scan_goes_its_own_route(run):
    volumes = read_cohorts(run[0])
    assert (volumes["status"] == "kept").all(), volumes.loc[volumes["status"] != "kept", "reason"].tolist()
    routes = volumes.groupby(["cohort", "source_format", "modality"])["steps"].agg(set).to_dict()
    assert routes == STEPS


def test_the_downloads_ids_stand_beside_the_labels(run):
    people = pd.read_csv(run[0] / "results/miniatures/preprocess/adni/participants.tsv", sep="\t", dtype=str)
    assert dict(people.to_numpy())["sub-904S10004"] == "904_S_10004"


def test_left_stays_left_in_every_format(run):
    volumes = read_cohorts(run[0])
    sides = {}
    for row in volumes[volumes["modality"] == "T1"].itertuples():
        image = nib.load(run[0] / row.path)
        sides[row.volume_id] = find_left_marker(image.get_fdata(), image.affine)
    assert set(volumes["source_format"]) == {"NIfTI", "Analyze", "DICOM"}
    assert set(sides.values()) == {"left"}, sides


def test_the_run_ends_in_tables_that_name_the_cohorts(run):
    paper = run[0] / "results" / "miniatures" / "paper"
    table = pd.read_csv(paper / "table_3.csv", dtype=str).to_string()
    for title in ("ADNI", "PPMI", "OASIS-1", "IXI", "ABIDE"):
        assert title in table
    flow = pd.read_csv(paper / "flow.csv", dtype=str, keep_default_na=False)
    assert {"a repeat scan", "neuromelanin", "SWEDD not kept"} <= set(flow["Reason"])


def test_nobodys_name_is_in_anything_that_was_written_or_said(run):
    directory, said = run
    planted = [text.encode() for text in PLANTED]
    assert not [text for text in PLANTED if text in said]
    raw = directory / "resources" / "miniatures"
    carried = b"".join(path.read_bytes() for path in raw.rglob("*.dcm"))
    assert all(text in carried for text in planted), "the raw series carry them"
    for folder in ("results", "logs", "benchmarks", ".snakemake"):
        for path in (directory / folder).rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                content = gzip.decompress(content) if path.suffix == ".gz" else content
                assert not [text for text in planted if text in content], path


def test_one_cohorts_ingest_reruns_alone(run, config):
    directory = run[0]
    records = directory / "results" / "miniatures" / "ingest"

    def look():
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in records.glob("*.parquet")}

    before = look()
    done = snakemake(directory, "ingest_adni", "--force", config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    after = look()
    moved = {name for name in before if before[name][0] != after[name][0]}
    assert moved == {"adni.parquet", "adni_exclusions.parquet"}
    assert {name: item[1] for name, item in before.items()} == {name: item[1] for name, item in after.items()}
    assert plan(directory, config=config, target=TARGET) == {}, "equal bytes replan nothing"


def test_a_cohort_is_one_file_dropped_into_the_folder(tmp_path):
    """That of docs/adding_a_cohort.md; no other file changes."""
    root = copy_checkout(tmp_path / "checkout")
    page = (ROOT / "docs" / "adding_a_cohort.md").read_text()
    (root / "cohorts" / "lake.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    raw = tmp_path / "lake"
    raw.mkdir()
    for number in range(100):
        (raw / f"L{number:02d}_2019-05-02_T1.nii.gz").touch()
    (raw / "people.csv").write_text("id,age,sex,diagnosis\nL01,71,f,0\n")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"run": "x", "cohorts": {"lake": {"raw_dir": str(raw), "n_shards": 3}}}))
    planned = plan(tmp_path, config=config, root=root)
    assert (planned["ingest_lake"], planned["preprocess_shard"], planned["pack_shard"]) == (1, 3, 3)
    assert planned["train_mae"] == 1
    inventory = tmp_path / "results" / "x" / "inventory" / "lake"
    assert sum(len(path.read_text().splitlines()) - 1 for path in inventory.glob("shard-*.tsv")) == 100
    assert snakemake(tmp_path, "all", "--dry-run", config=config).returncode == 2, (
        "not known without the file"
    )
