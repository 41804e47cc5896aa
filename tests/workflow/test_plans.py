"""What a change plans, in a whole smoke run; and the same bytes from a run that was killed."""

import gzip
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from html import unescape

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from braing3n import from_pretrained
from braing3n.core.runtime import digest_file
from braing3n.volumes.pack import load_volume

from .conftest import ROOT, SMOKE, copy_checkout, link_wheels, plan, snakemake

pytestmark = pytest.mark.workflow
READS_LABELS = {
    "build_label_table",
    "probe_encoder",
    "compare_encoders",
    "train_diffusion",
    "sample_diffusion",
    "sample_control",
    "read_control",
    "pair_visits",
    "train_longitudinal",
    "forecast_longitudinal",
    "evaluate_longitudinal",
    "measure_fidelity",
    "audit_memorization",
    "write_model_folder",
    "tabulate_paper",
    "all",
}
AFTER_PROBES = {"compare_encoders", "write_model_folder", "tabulate_paper", "all"}
READS_VOLUMES = {
    "find_near_duplicates",
    "build_volume_list",
    "train_mae",
    "train_tokenizer",
    "cache_latents",
    "extract_features",
}
# One changed setting of each settings file, and the rules that read that file.
SECTIONS = {
    "resources": ("{sha256: {hd-bet: none}}", {"preprocess_shard"}),
    "preprocess": ("{seed: 7}", {"preprocess_shard", "write_model_folder"}),
    "volumes": ("{crop: atlas_centred}", {"pack_shard", "find_near_duplicates", "write_model_folder"}),
    "manifest": ("{seed: 7}", {"find_near_duplicates", "build_volume_list"}),
    "manifest.count_tolerance": ("{count_tolerance: 0.5}", {"count_cohorts"}),
    "manifest.max_outlier_score": ("{max_outlier_score: 99}", {"build_volume_list", "show_quality"}),
    "pretrain": ("{seed: 7}", {"train_mae", "extract_features"}),
    "tokenizer": ("{seed: 7}", {"train_tokenizer"}),
    "latents": ("{batch_size: 3}", {"cache_latents", "extract_features"}),
    "diffusion": ("{seed: 7}", {"train_diffusion"}),
    "diffusion.sampling": (
        "{sampling: {seed: 7}}",
        {"sample_diffusion", "sample_control", "write_model_folder"},
    ),
    "control": ("{seed: 7}", {"sample_control", "read_control"}),
    "longitudinal": ("{seed: 7}", {"pair_visits", "train_longitudinal"}),
    "longitudinal.forecast": ("{forecast: {n_steps: 7}}", {"forecast_longitudinal", "write_model_folder"}),
    "longitudinal.evaluation": ("{evaluation: {guidance: [7.0]}}", {"evaluate_longitudinal"}),
    "probe": ("{seed: 7}", {"probe_encoder", "sample_control", "evaluate_longitudinal"}),
    "probe.readouts": ("{readouts: [knn]}", {"read_otherwise", "tabulate_paper", "all"}),
    "fidelity": ("{seed: 7}", {"measure_fidelity"}),
    "memorization": ("{percentile: 7}", {"audit_memorization"}),
    "export": ("{min_count: 7}", {"write_model_folder"}),
}
# When a run is killed: seconds, at most, after the first line of a log. The last job takes longer.
KILLS = {"preprocess/*.log": 8.0, "volumes/*.log": 4.0, "pretrain/*.log": 3.0}


@pytest.fixture
def raw(smoke_run):
    """The raw tree of one phantom cohort; restored after the test, times included."""
    folder = smoke_run / "resources" / "miniatures" / "smoke" / "phantom_a"
    copy = smoke_run / "copy"
    shutil.copytree(folder, copy)
    yield folder
    shutil.rmtree(folder)
    copy.rename(folder)
    assert plan(smoke_run) == {}, "the run is as it was"


def test_the_run_ends_in_tables(smoke_run):
    paper = smoke_run / "results" / "smoke" / "paper"
    assert (paper / "index.html").read_text().count("<table") >= 4
    assert (paper / "card.html").read_text().count("data:image/png;base64,") == 5
    counts = pd.read_parquet(smoke_run / "results" / "smoke" / "manifest" / "counts.parquet")
    assert counts["verdict"].tolist() == ["n/a", "n/a"], "miniatures are compared with nothing"
    for n in (3, 5, 6, 8):
        for end in ("csv", "md", "tex", "html"):
            assert (paper / f"table_{n}.{end}").stat().st_size > 100
    flow = pd.read_parquet(smoke_run / "results" / "smoke" / "manifest" / "flow.parquet")
    totals = flow[flow["reason"] == ""]
    assert (totals["kept"] + totals["excluded"] == totals["received"]).all()
    assert totals["kept"].sum() >= 12


def test_the_exported_folder_encodes_as_the_run_did(smoke_run):
    results = smoke_run / "results" / "smoke"
    model = from_pretrained(results / "export", "cpu")
    first = pd.read_parquet(results / "manifest" / "volume_list.parquet").iloc[0]
    volume, _ = load_volume(smoke_run / first["path"], smoke_run / first["mask_path"], model.volumes)
    features = model.encode(torch.from_numpy(volume)[None, None]).mean(dim=1)
    with np.load(results / "latents" / "features_mae.npz") as file:
        np.testing.assert_allclose(features[0], file["features"][0], rtol=1e-3, atol=1e-4)


def test_head_size_that_registration_removes_is_in_the_determinant(smoke_run):
    """A head's scale is the determinant's cube root, upside down; the brain's volume in SRI24 has lost it."""
    results = smoke_run / "results" / "smoke"
    fits = pd.concat(pd.read_parquet(path) for path in results.glob("preprocess/*/shard-*.parquet"))
    columns = ["volume_id", "affine_determinant"]
    labels = pd.read_parquet(results / "manifest" / "labels.parquet").merge(fits[columns], on="volume_id")
    people = labels[labels["modality"] == "T1"].drop_duplicates("person_id")
    assert len(people) >= 10
    scale = people["affine_determinant"] ** (-1 / 3)
    assert np.corrcoef(scale, people["control_head_size"])[0, 1] > 0.9
    sri24_ml = people["native_brain_ml"] * people["affine_determinant"]
    assert np.log(sri24_ml).std() < 0.5 * np.log(people["native_brain_ml"]).std()


def test_a_second_run_plans_nothing(smoke_run):
    assert plan(smoke_run) == {}


def test_a_replaced_raw_file_plans_its_shard_and_what_reads_volumes(smoke_run, raw):
    path = next(raw.rglob("*_T1w.nii.gz"))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1000:] = bytes(1000)
    path.write_bytes(gzip.compress(bytes(content)))
    planned = plan(smoke_run)
    assert planned["preprocess_shard"] == 1
    assert planned["pack_shard"] == 1
    assert set(planned) >= READS_VOLUMES
    assert not [rule for rule in planned if rule.startswith("ingest")]


def test_an_added_subject_plans_its_cohorts_ingest_too(smoke_run, raw):
    source = sorted(path for path in raw.glob("sub-*") if (path / "anat").is_dir())[0]
    for path in source.rglob("*.nii.gz"):
        target = raw / "sub-new" / "anat" / path.name.replace(source.name, "sub-new")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    planned = plan(smoke_run)
    assert planned["preprocess_shard"] == 1
    assert planned["pack_shard"] == 1
    assert planned["ingest_phantom_a"] == 1
    assert "ingest_phantom_b" not in planned
    assert set(planned) >= READS_VOLUMES | READS_LABELS


def test_a_corrected_phenotype_cell_plans_what_reads_labels_and_nothing_else(smoke_run, raw):
    path = raw / "participants.tsv"
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    frame.loc[0, "age"] = "44.4"
    frame.to_csv(path, sep="\t", index=False)
    planned = plan(smoke_run)
    assert set(planned) == READS_LABELS | {"ingest_phantom_a"}


def test_an_edited_cohort_file_plans_its_ingest_and_what_reads_labels(smoke_run, tmp_path):
    root = copy_checkout(tmp_path / "checkout")
    assert plan(smoke_run, root=root) == {}
    cohort = root / "cohorts" / "phantom.py"
    cohort.write_text(cohort.read_text() + "\n# another code\n")
    planned = plan(smoke_run, root=root)
    assert set(planned) == READS_LABELS | {"ingest_phantom_a", "ingest_phantom_b"}


def test_another_tolerance_counts_again_and_replans_nothing_that_reads_volumes(smoke_run):
    planned = plan(smoke_run, "--config", "manifest={count_tolerance: 0.5}")
    assert set(planned) == {"count_cohorts", "tabulate_paper", "all"}


@pytest.fixture(scope="module")
def followers(smoke_run):
    """The rules that come after each rule, near or far."""
    done = snakemake(smoke_run, "all", "--rulegraph")
    names = dict(re.findall(r"^\s*(\d+)\[label = \"(\w+)", done.stdout, re.MULTILINE))
    after: dict[str, set[str]] = {name: set() for name in names.values()}
    edges = [(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)]
    for _ in names:
        for first, then in edges:
            after[first] |= {then} | after[then]
    return after


@pytest.mark.parametrize("name", SECTIONS)
def test_a_changed_section_plans_the_rules_that_read_it_and_what_follows(smoke_run, followers, name):
    change, readers = SECTIONS[name]
    planned = plan(smoke_run, "--config", f"{name.split('.')[0]}={change}")
    assert set(planned) == readers.union(*(followers.get(rule, set()) for rule in readers))


def test_one_more_encoder_is_extracted_and_compared_and_nothing_is_cached_again(smoke_run):
    planned = plan(smoke_run, "--config", "latents={encoders: [mae, untrained, histogram]}")
    assert set(planned) == {"extract_features", "probe_encoder", *AFTER_PROBES}
    assert planned["extract_features"] == planned["probe_encoder"] == 1


def test_an_encoder_is_one_file_dropped_into_the_folder_and_jobs_may_share_its_volumes(smoke_run, tmp_path):
    root, name = copy_checkout(tmp_path / "checkout"), "results/smoke/latents/features_levels.npz"
    encoders = root / "braing3n" / "encoders"
    shutil.copy(encoders / "histogram.py", encoders / "levels.py")
    written, shared = [], {"extract_part": 6, "join_features": 2, "probe_encoder": 2}  # `untrained` again
    for n, rules in ((1, {"extract_features": 1, "probe_encoder": 1}), (3, shared)):
        given = "--config", f"latents={{encoders: [mae, untrained, levels], n_parts: {n}}}"
        planned = plan(smoke_run, *given, root=root)
        assert planned == rules | dict.fromkeys(AFTER_PROBES, 1)
        done = snakemake(smoke_run, name, *given, root=root)
        assert done.returncode == 0, done.stderr[-3000:]
        written.append((smoke_run / name).read_bytes())
        (smoke_run / name).unlink()
    assert written[0] == written[1]
    assert plan(smoke_run) == {}, "the run is as it was"


def test_every_cohort_has_a_quality_page_with_all_its_volumes(smoke_run):
    results = smoke_run / "results" / "smoke"
    quality = pd.read_parquet(results / "manifest" / "quality.parquet")
    listed = pd.read_parquet(results / "manifest" / "volume_list.parquet")
    assert set(quality["volume_id"]) == set(listed["volume_id"])
    for cohort, part in quality.groupby("cohort"):
        page = (results / "preprocess" / cohort / "quality.html").read_text()
        assert all(page.count(f"<article id='{name}'") == 1 for name in part["volume_id"])
        assert page.count("data:image/jpeg;base64,") == len(part)
        assert str(smoke_run) not in page
        assert f"../preprocess/{cohort}/quality.html" in (results / "paper" / "index.html").read_text()


def test_a_review_replans_from_the_volume_list_on_and_is_obeyed(smoke_run):
    manifest = smoke_run / "results" / "smoke" / "manifest"
    before = pd.read_parquet(manifest / "volume_list.parquet")
    name = before.loc[before["split"] == "train", "volume_id"].iloc[0]
    (smoke_run / "review.tsv").write_text(f"volume_id\tdecision\treason\n{name}\tdrop\tmotion\n")
    review = "--config", "manifest={review: review.tsv}"
    planned = plan(smoke_run, *review)
    assert set(planned) >= READS_LABELS | READS_VOLUMES - {"find_near_duplicates"} | {"show_quality"}
    untouched = {"preprocess_shard", "pack_shard", "find_near_duplicates"}
    assert not [rule for rule in planned if rule in untouched or rule.startswith("ingest")]
    cohort = before.set_index("volume_id").loc[name, "cohort"]
    targets = [
        f"results/smoke/{item}" for item in ("manifest/labels.parquet", f"preprocess/{cohort}/quality.html")
    ]
    assert snakemake(smoke_run, *targets, *review).returncode == 0
    after = pd.read_parquet(manifest / "volume_list.parquet")
    assert set(before["volume_id"]) - set(after["volume_id"]) == {name}
    excluded = pd.read_parquet(manifest / "exclusions.parquet").set_index("volume_id")
    assert excluded.loc[name, "reason"] == "dropped in review: motion"
    page = (smoke_run / "results" / "smoke" / "preprocess" / cohort / "quality.html").read_text()
    assert "dropped in review: motion" in page
    assert snakemake(smoke_run, *targets).returncode == 0
    assert plan(smoke_run) == {}, "the run is as it was"


def test_one_cohorts_ingest_reruns_alone(smoke_run):
    records = smoke_run / "results" / "smoke" / "ingest"
    before = {path.name: path.stat().st_mtime_ns for path in records.glob("*.parquet")}
    content = (records / "phantom_a.parquet").read_bytes()
    done = snakemake(smoke_run, "ingest_phantom_a", "--force")
    assert done.returncode == 0, done.stderr[-3000:]
    after = {path.name: path.stat().st_mtime_ns for path in records.glob("*.parquet")}
    assert after["phantom_a.parquet"] > before["phantom_a.parquet"]
    assert after["phantom_b.parquet"] == before["phantom_b.parquet"]
    assert (records / "phantom_a.parquet").read_bytes() == content
    assert plan(smoke_run) == {}, "equal bytes replan nothing"


def test_the_paper_alone_is_made_again_without_training(smoke_run):
    index = smoke_run / "results" / "smoke" / "paper" / "index.html"
    content = index.read_bytes()
    done = snakemake(smoke_run, "tabulate_paper", "--force", "--allowed-rules", "tabulate_paper")
    assert done.returncode == 0, done.stderr[-3000:]
    assert index.read_bytes() == content


def write_changed(directory, **changes):
    """The smoke run's configuration with other sections, as a file."""
    config = yaml.safe_load(SMOKE.read_text())
    for name, section in changes.items():
        config[name] = config.get(name, {}) | section
    path = directory / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_paper_again_trains_nothing_and_says_what_is_out_of_date(smoke_run):
    results = smoke_run / "results" / "smoke"
    trained = [*results.rglob("*.safetensors"), *results.glob("probe/*.parquet")]
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in trained}
    for changes, stale, word in (
        ({"probe": {"ridge_alpha": 100.0}}, "probe_encoder", "updated input files"),
        ({"pretrain": {"mask_ratio": 0.5}}, "train_mae", "updated input files"),
        ({}, "", ""),
    ):
        config = write_changed(smoke_run, **changes)
        command = [sys.executable, "-m", "braing3n", "paper", "again", "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=smoke_run, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        page = unescape((results / "paper" / "index.html").read_text())
        lines = [line for line in done.stderr.splitlines() if line.startswith("Out of date: ")]
        assert all(line in page for line in lines)
        assert any(f"of {stale} (" in line and word in line for line in lines) == bool(stale)
        assert ("Out of date" in page) == bool(stale)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in trained} == before
    assert plan(smoke_run) == {}


def test_the_allowed_rules_of_the_paper_bring_no_training_along(smoke_run):
    allowed = "--allowed-rules", "tabulate_paper", "paper"
    planned = plan(smoke_run, "--config", "pretrain={mask_ratio: 0.5}", *allowed, target="paper")
    assert set(planned) <= {"tabulate_paper", "paper"}


def test_given_weights_are_where_the_dag_starts(smoke_run):
    results = smoke_run / "results" / "smoke"
    given = {
        "pretrain": results / "pretrain" / "mae.safetensors",
        "tokenizer": results / "tokenizer" / "tokenizer.safetensors",
        "diffusion": results / "diffusion" / "dit.safetensors",
    }
    folder = smoke_run / "given"
    folder.mkdir(exist_ok=True)
    for name, path in given.items():
        shutil.copy(path, folder / f"{name}.safetensors")
    changes = {name: {"weights": str(folder / f"{name}.safetensors")} for name in given}
    config = write_changed(smoke_run, **changes)
    assert "train_mae" in plan(smoke_run, "--forceall")
    planned = plan(smoke_run, "--forceall", config=config)
    assert not {"train_mae", "train_diffusion"} & set(planned)
    assert {"take_mae", "take_diffusion", "take_tokenizer"} <= set(planned)
    assert "train_tokenizer" not in planned


def test_an_own_column_is_read_and_probed_and_nothing_is_trained(smoke_run):
    config = write_changed(smoke_run, probe={"columns": {"sex": "classification"}})
    planned = plan(smoke_run, config=config)
    assert set(planned) == {"read_columns", "probe_encoder", *AFTER_PROBES}


def test_fine_tuning_is_a_job_a_task_where_it_is_asked_for(smoke_run):
    rate = {"encoder_lr_scale": 0.5}
    assert plan(smoke_run, config=write_changed(smoke_run, probe={"finetune": rate})) == {}
    config = write_changed(smoke_run, probe={"finetune": {"tasks": ["sex", "age"]}})
    planned = plan(smoke_run, config=config)
    assert set(planned) == {"finetune_encoder", "read_otherwise", "tabulate_paper", "all"}
    assert planned["finetune_encoder"] == 2


def test_the_report_is_written(smoke_run):
    done = snakemake(smoke_run, "all", "--report", "report.html")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (smoke_run / "report.html").stat().st_size > 10**5


def digest_results(directory):
    """Digests of preprocessed volumes, packed arrays and the encoder's weights."""
    results = directory / "results" / "smoke"
    paths = [*results.glob("preprocess/**/*.nii.gz"), *results.glob("volumes/**/*.b2nd")]
    paths += [results / "pretrain" / "mae.safetensors"]
    return {path.relative_to(results).as_posix(): digest_file(path) for path in paths}


def test_kill_9_unlock_and_rerun_give_the_same_bytes(smoke_run, tmp_path, fetch_resource):
    link_wheels(tmp_path, fetch_resource)
    shutil.copytree(smoke_run / "resources" / "miniatures", tmp_path / "resources" / "miniatures")
    command = [sys.executable, "-m", "snakemake", "pretrain", "--cores", "2", "--directory", str(tmp_path)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(SMOKE)]
    draw = random.SystemRandom()
    log, most = draw.choice(list(KILLS.items()))
    seconds = draw.uniform(0, most)
    print(f"killed {seconds:.1f} s after {log}")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **quiet)
    while not list((tmp_path / "logs" / "smoke").glob(log)) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(seconds)
    was_running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert snakemake(tmp_path, "pretrain", "--unlock").returncode == 0
    done = snakemake(tmp_path, "pretrain")
    assert done.returncode == 0, done.stderr[-5000:]
    assert was_running, "the run ended before it was killed: the test proves nothing"
    assert digest_results(tmp_path) == digest_results(smoke_run)
