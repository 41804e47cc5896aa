"""A shard: its table, its store, and what happens when things go wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.config import CohortSettings, ResourceSettings
from braing3n.core.contracts import read_table
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import digest_file
from braing3n.inventory.bids import find_bids_scans
from braing3n.inventory.build import write_inventory as write_shards
from braing3n.preprocess import shard
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.preprocess.mosaic import draw_mosaic
from braing3n.preprocess.shard import preprocess_shard, read_visits, run_visit, run_visits

from .brains import centred_affine, make_row, rotate, sample, write_brain

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG"


def write_inventory(path, rows):
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    return path


def read_tree(folder):
    """Every file of a store by its relative path, the lock aside."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_people(folder, n=3):
    """A few stripped people of different heads, the second with a T2."""
    rows = []
    for index in range(n):
        turn = rotate(3 * index, shift=(index, 0, 2 * index), scale=1 + 0.03 * index)
        path = write_brain(folder / f"sub-{index}_T1w.nii.gz", to_brain=turn)
        rows.append(make_row(path, f"{index:02d}"))
    path = write_brain(folder / "sub-1_T2w.nii.gz", modality="T2")
    return [*rows, make_row(path, "01", "T2", is_bias_corrected=0)]


def make_bad_files(folder):
    """One bad file of each kind, and one good one under an awkward name."""
    folder.mkdir()
    affine, shape = centred_affine((36, 42, 34), 5.0), (36, 42, 34)
    data = sample(affine, shape)
    cut = folder / "cut.nii.gz"
    noise = np.random.default_rng(0).normal(100, 9, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, affine), cut)
    cut.write_bytes(cut.read_bytes()[:50_000])
    (folder / "none.nii.gz").write_bytes(b"")
    nib.save(nib.Nifti1Image(np.stack([data, data], axis=-1), affine), folder / "4d.nii.gz")
    nib.save(nib.Nifti1Image(np.where(data > 150, np.nan, data), affine), folder / "nan.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros_like(data), affine), folder / "zero.nii.gz")
    nib.save(nib.Nifti1Image(data, affine), folder / 'it\'s a "scan" .nii.gz')
    return sorted(folder.iterdir())


@pytest.fixture
def run(tmp_path, atlas_path, settings):
    """Run a shard into a folder of its own; returns its table."""

    def go(inventory, name="out", n_workers=1, **changes):
        resources = ResourceSettings(paths={"sri24": str(atlas_path)})
        chosen = settings.model_copy(update=changes)
        folder = tmp_path / name
        return preprocess_shard(inventory, folder, folder / "table.parquet", chosen, resources, n_workers)

    return go


def test_bad_files_are_rows_with_reasons_while_the_rest_is_kept(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = make_bad_files(tmp_path / "raw data")
    rows = [make_row(path.relative_to(tmp_path), f"{index}") for index, path in enumerate(paths)]
    inventory = write_inventory(tmp_path / "shard-000.tsv", rows)
    run(inventory, max_failure_rate=1.0)
    table = read_table(tmp_path / "out" / "table.parquet", PREPROCESS)
    reasons = {path.name: table.loc[index, "reason"] for index, path in enumerate(paths)}
    for name, words in {
        "cut.nii.gz": "truncated",
        "none.nii.gz": "0 bytes",
        "4d.nii.gz": "4-D",
        "nan.nii.gz": "not finite",
        "zero.nii.gz": "every voxel is 0",
        'it\'s a "scan" .nii.gz': "",
    }.items():
        assert words in reasons[name]
        assert bool(words) == bool(reasons[name])
    kept = table[table["status"] == "kept"].iloc[0]
    assert len(table) == 6
    assert nib.load(kept["path"]).shape == (60, 60, 39)
    draw_mosaic(table, tmp_path / "mosaic.png")
    assert (tmp_path / "mosaic.png").read_bytes()[:4] == PNG
    with pytest.raises(BrainG3nError, match=r"5 of 6 visits gave no volume.*max_failure_rate"):
        run(inventory, max_failure_rate=0.5)


def test_the_same_bytes_for_any_number_of_workers_and_any_order(tmp_path, run):
    rows = make_people(tmp_path / "raw")
    one = run(write_inventory(tmp_path / "shard-000.tsv", rows), "one", 1)
    two = run(write_inventory(tmp_path / "shard-001.tsv", rows[::-1]), "two", 2)
    assert (one["status"] == "kept").all()
    columns = [name for name in one if name not in ("path", "mask_path", "picture_path")]
    pd.testing.assert_frame_equal(one[columns], two[columns])
    trees = [read_tree(tmp_path / name / "invented") for name in ("one", "two")]
    assert trees[0] == trees[1]
    # Description and .bidsignore; mask, volume, picture, two transforms, sidecar; T2: no mask, no sidecar.
    assert len(trees[0]) == 2 + 3 * 6 + 4


def test_no_more_workers_than_cpus(tmp_path, run, monkeypatch):
    def refuse(visits, job, n_workers, report):
        raise RuntimeError(f"{n_workers} workers")

    monkeypatch.setattr(shard, "run_visits", refuse)
    monkeypatch.setattr("braing3n.core.runtime.count_cpus", lambda: 3)
    inventory = write_inventory(tmp_path / "shard.tsv", make_people(tmp_path))
    for n_asked, n_used in ((2, 2), (64, 3)):
        with pytest.raises(RuntimeError, match=f"^{n_used} workers"):
            run(inventory, n_workers=n_asked)


def test_only_a_changed_visit_is_done_again(tmp_path, job, monkeypatch):
    from braing3n.preprocess import visit

    rows = make_people(tmp_path / "raw")
    visits = read_visits(write_inventory(tmp_path / "shard-000.tsv", rows))
    done = []
    process = visit.process_visit
    monkeypatch.setattr(visit, "process_visit", lambda rows, tools: done.append(rows) or process(rows, tools))

    def run_all():
        done.clear()
        table = [row for item in visits for row in run_visit(item, job)]
        return table, [item[0]["subject_id"] for item in done]

    first, who = run_all()
    assert who == ["00", "01", "02"]
    assert run_all() == (first, [])
    write_brain(tmp_path / "raw" / "sub-2_T1w.nii.gz", to_brain=rotate(-4))
    changed, who = run_all()
    assert who == ["02"]
    assert [row["volume_sha256"] for row in changed[:3]] == [row["volume_sha256"] for row in first[:3]]
    assert changed[3]["volume_sha256"] != first[3]["volume_sha256"]
    Path(first[0]["path"]).write_bytes(b"spoiled")
    assert run_all() == (changed, ["00"])
    # A scan that leaves the inventory takes its files with it.
    visits[1] = visits[1][:1]
    run_all()
    assert not [name for name in read_tree(job.store_dir) if "T2w" in name]


def test_the_next_series_of_a_refused_scan_is_used_from_the_raw_folder_on(tmp_path, run, capsys):
    folder = tmp_path / "raw" / "sub-01" / "anat"
    good, spare = (folder / f"sub-01_acq-{name}_T1w.nii.gz" for name in "bc")
    write_brain(good)
    write_brain(spare, spacing_mm=6.0)
    cut = folder / "sub-01_acq-a_T1w.nii.gz"
    cut.write_bytes(good.read_bytes()[:-9_000])
    walk = find_bids_scans(tmp_path / "raw", "invented")
    write_shards("invented", CohortSettings(raw_dir="raw"), walk, tmp_path / "inventory")
    table = run(tmp_path / "inventory" / "shard-000.tsv")
    row = table.iloc[0]
    assert (len(table), row["status"], row["n_refused"]) == (1, "kept", 1)
    assert row["raw_sha256"] == digest_file(good)
    assert "sub-01_acq-b_T1w.nii.gz is used in its place." in capsys.readouterr().err
    pd.testing.assert_frame_equal(run(tmp_path / "inventory" / "shard-000.tsv"), table)
    write_brain(good, to_brain=rotate(4))
    assert run(tmp_path / "inventory" / "shard-000.tsv").iloc[0]["volume_sha256"] != row["volume_sha256"]


def test_paths_in_the_table_follow_the_store_as_it_was_given(tmp_path, job, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = make_row(write_brain(tmp_path / "a.nii.gz"), session_id="base line")
    from dataclasses import replace

    result = run_visit([row], replace(job, store_dir=Path("results/store")))[0]
    folder = "results/store/invented/sub-01/ses-baseline/anat/"
    assert result["path"] == folder + "sub-01_ses-baseline_space-SRI24_desc-preproc_T1w.nii.gz"
    assert Path(result["mask_path"]).is_file()


def test_two_subjects_with_one_label_are_an_error(tmp_path):
    rows = [make_row("a.nii.gz", "a-1"), make_row("b.nii.gz", "a1")]
    with pytest.raises(BrainG3nError, match="same BIDS labels"):
        read_visits(write_inventory(tmp_path / "shard-000.tsv", rows))


def test_an_empty_shard_is_an_empty_table(tmp_path, run):
    inventory = write_inventory(tmp_path / "shard-000.tsv", pd.DataFrame(columns=list(make_row("a"))))
    run(inventory)
    assert len(read_table(tmp_path / "out" / "table.parquet", PREPROCESS)) == 0


def test_a_visit_whose_process_dies_is_an_exclusion(tmp_path, job, monkeypatch):
    (tmp_path / "dying.py").write_text(
        "import os\n"
        "def run_visit(visit, job):\n"
        "    if visit[0]['subject_id'] == '1':\n"
        "        os._exit(9)\n"
        "    return [{'subject_id': visit[0]['subject_id'], 'status': 'kept'}]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import dying

    monkeypatch.setattr(shard, "run_visit", dying.run_visit)
    visits = [[make_row("a", str(index))] for index in range(3)]
    done = dict(run_visits(visits, job, 1))
    assert [done[index][0]["status"] for index in range(3)] == ["kept", "excluded", "kept"]
    assert "died" in done[1][0]["reason"]


def test_an_unguarded_script_runs_once_without_pytorch_and_its_workers_compute_with_one_thread(
    tmp_path,
):
    (tmp_path / "counting.py").write_text(
        "def run_visit(visit, job):\n"
        "    import ants, torch\n"
        "    from threadpoolctl import threadpool_info\n"
        "    return [torch.get_num_threads(), *(pool['num_threads'] for pool in threadpool_info())]\n"
    )
    (tmp_path / "script.py").write_text(  # as people write one: nothing stands behind `if __name__ ...`
        "import sys, counting\n"
        "from braing3n.config import PreprocessSettings\n"
        "from braing3n.preprocess import shard\n"
        "print('started')\n"
        "shard.run_visit = counting.run_visit\n"
        "job = shard.Job('', PreprocessSettings(), '', '', None)\n"
        "((_, numbers),) = shard.run_visits([[{}]], job, 4)\n"
        "print(set(numbers), 'torch' in sys.modules, sys.modules['__main__'].__file__ == __file__)\n"
    )
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {name: text for name, text in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, str(tmp_path / "script.py")]
    printed = subprocess.check_output(command, env=environment | {"PYTHONPATH": paths}, text=True)
    assert printed.split() == ["started", "{1}", "False", "True"], "workers do not run the script again"


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(tmp_path, run, atlas_path, settings):
    inventory = write_inventory(tmp_path / "shard-000.tsv", make_people(tmp_path / "raw"))
    whole = run(inventory, "whole")
    store = tmp_path / "killed"
    command = [sys.executable, "-m", "braing3n", "preprocess", "shard", "--threads", "1"]
    command += ["--inventory", str(inventory), "--store", str(store), "--table", str(store / "table.parquet")]
    command += ["--settings", settings.as_json()]
    command += ["--resources", ResourceSettings(paths={"sri24": str(atlas_path)}).as_json()]
    job = subprocess.Popen(command, cwd=Path(shard.__file__).parents[2], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(store.rglob("*.json"))[1:] and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert not (store / "table.parquet").exists()
    half_written = store / "invented" / "sub-02" / "anat" / ".sub-02_space-SRI24-0123456789abcdef.nii.gz"
    half_written.parent.mkdir(parents=True, exist_ok=True)
    half_written.write_bytes(b"half")
    again = run(inventory, "killed")
    assert again["volume_sha256"].tolist() == whole["volume_sha256"].tolist()
    trees = [read_tree(tmp_path / name / "invented") for name in ("whole", "killed")]
    assert trees[0] == trees[1]
