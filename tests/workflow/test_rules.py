"""Every rule says what it does and needs; nothing computes in a rule file."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from braing3n import WORDS
from braing3n.config import load_config
from braing3n.launch import list_settings

from .conftest import ROOT, snakemake
from .test_bad_configuration import write_config
from .test_plans import SECTIONS
from .test_sweep import write_config as write_sweep

RULE_FILES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
DIRECTIVES = ("log:", "benchmark:", "conda:", "threads:", "resources:", "params:")

# Settings files that no test of test_plans.py changes in a finished run, which has no sweep and no columns of
# its own, and the rules that read each.
READERS = {
    "cohorts.ixi": {"ingest_ixi", "count_cohorts", "read_columns"},
    "cohorts.upenn_gbm": {"ingest_upenn_gbm", "count_cohorts", "read_columns"},
    "latents.foreign": {"extract_features"},
    "probe.columns": {"read_columns", "probe_encoder", "compare_encoders"},
    "probe.finetune": {"finetune_encoder"},
    "probe.finetune.tasks": {"read_otherwise"},
    "sweep": {"choose_sweep_volumes"},
    "sweep.akl": {"train_baseline"},
    "sweep.probe": {"probe_sweep"},
}
# Those that no rule reads, since they change which jobs there are; each with the test that changes it.
SHAPES = {
    "manifest.review": "test_a_review_replans_from_the_volume_list_on_and_is_obeyed",
    "latents.encoders": "test_one_more_encoder_is_extracted_and_compared_and_nothing_is_cached_again",
    "latents.n_parts": "test_an_encoder_is_one_file_dropped_into_the_folder_and_jobs_may_share_its_volumes",
    "sweep.d": "test_every_arm_trains_with_its_own_d_and_a_sweeps_setting_replans_no_other_tokenizer",
    "sweep.budgets": "test_each_budget_has_an_akl_of_its_own",
}


def split_rules(path):
    """The text of each rule of a file."""
    return re.split(r"^ *(?=rule\b)", path.read_text(), flags=re.MULTILINE)[1:]


def test_there_is_one_rule_file_one_folder_and_one_version_for_each_word():
    assert {path.stem for path in RULE_FILES} == set(WORDS)
    assert all((ROOT / "braing3n" / word / "__init__.py").exists() for word in WORDS)
    assert all((ROOT / "tests" / word).is_dir() for word in WORDS)


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.stem)
def test_every_rule_has_a_sentence_and_every_working_rule_its_directives(path):
    for rule in split_rules(path):
        assert re.search(r'"""[A-Z].*\."""', rule), f"no sentence: {rule[:60]}"
        if "shell:" not in rule:
            continue
        missing = [name for name in DIRECTIVES if name not in rule]
        assert not missing, f"{missing} missing in {rule[:60]}"
        assert "STAGE[" in rule, f"no stage version in {rule[:60]}"
        assert "run:" not in rule
        assert "script:" not in rule
    assert len(path.read_text().splitlines()) <= 200


def test_a_printed_command_is_short_and_holds_no_json_whatever_the_number_of_shards(tmp_path):
    config_path = write_sweep(tmp_path)
    config = yaml.safe_load(config_path.read_text())
    for name in (path.stem for path in (ROOT / "cohorts").glob("*.py")):  # as many as the paper's
        config["cohorts"][name] = config["cohorts"]["ixi"] | {"n_shards": 1}
    config["cohorts"]["ixi"]["n_shards"] = 60
    config_path.write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, "all", "--dry-run", "--printshellcmds", config=config_path)
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"((?:exec )?python -m braing3n .*)$", done.stdout + done.stderr, re.MULTILINE)
    assert len(commands) > 30
    assert {command.split(" braing3n ")[1].split()[0] for command in commands} >= {
        *WORDS[1:],
        "run-training",
    } - {
        "pretrain",
        "tokenizer",
    }
    for command in commands:
        assert len(command) <= 600, command
        assert not re.search(r"[{}]|u007b", command), command
    assert not [path for path in RULE_FILES if "without=" in path.read_text()]


@pytest.mark.parametrize(("cores", "side", "training"), [(3, 1, 3), (4, 4, 4)])
def test_on_few_cores_two_jobs_run_where_one_would(tmp_path, cores, side, training):
    """But for the long trainings, which everything waits for."""
    config = write_sweep(tmp_path)
    done = snakemake(tmp_path, "all", "--dry-run", "--printshellcmds", config=config, cores=cores)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    found = set(re.findall(r"braing3n (?:run-training .*\.log )?(\w+ \w+) .*--threads (\d+)", text))
    of_side = {"preprocess shard", "latents features", "diffusion sample", "control read", "fidelity measure"}
    for command, threads in [(name, side) for name in of_side] + [
        (f"{name} train", training) for name in ("pretrain", "tokenizer", "diffusion")
    ]:
        assert {n for name, n in found if name == command} == {str(threads)}, command


def test_a_cluster_has_no_number_of_cores_and_gives_each_job_its_own():
    """A dry run has one core where none is said, so the line itself is read."""
    (line,) = re.findall(r"^THREADS = .*$", (ROOT / "Snakefile").read_text(), re.MULTILINE)
    names = {"workflow": SimpleNamespace(resource_settings=SimpleNamespace(cores=None))}
    exec(line, names)
    assert names["THREADS"] == 4


def test_the_snakefile_is_a_table_of_contents_in_the_order_of_the_data():
    text = (ROOT / "Snakefile").read_text()
    assert len(text.splitlines()) <= 80
    included = re.findall(r'include: "workflow/rules/(\w+)\.smk"', text)
    assert included == [word for word in WORDS if word in included]
    assert set(included) == set(WORDS)


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_each_word_is_a_target_also_from_where_the_catalogue_looks(tmp_path, snakefile):
    command = [sys.executable, "-m", "snakemake", "--list-rules", "--directory", str(tmp_path)]
    command += ["--snakefile", str(ROOT / snakefile)]
    command += ["--configfile", str(write_config(tmp_path))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(WORDS) | {"all"} <= {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def test_every_settings_file_is_read_by_the_rules_that_a_change_of_it_should_plan(tmp_path):
    config_path = write_sweep(tmp_path)
    config = yaml.safe_load(config_path.read_text())
    config["latents"] = {"encoders": ["mae", "untrained", "brainiac"]}
    config["probe"] = {"finetune": {"tasks": ["sex"]}, "columns": {"group": "classification"}}
    config["probe"]["readouts"] = ["knn"]
    config_path.write_text(yaml.safe_dump(config))
    for cohort in config["cohorts"].values():
        (Path(cohort["raw_dir"]) / "participants.tsv").write_text("participant_id\tgroup\nsub-01\ta\n")
    done = snakemake(tmp_path, "all", "--dry-run", config=config_path)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^rule (\w+):\n((?: {4}.*\n)+)", done.stdout + done.stderr, re.MULTILINE)
    readers: dict[str, set[str]] = {}
    for rule, described in jobs:
        (inputs,) = re.findall(r"^ {4}input: (.*)$", described, re.MULTILINE) or [""]
        for name in re.findall(r"results/sweeping/settings/([\w.]+)\.json", inputs):
            readers.setdefault(name, set()).add(rule)
    assert {name: rules for name, rules in readers.items() if name not in SECTIONS} == READERS
    written = {name for name, _ in list_settings(load_config(config_path))}
    assert written == readers.keys() | SECTIONS.keys() | SHAPES.keys()
    assert not readers.keys() & SHAPES.keys()
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "workflow").glob("test_*.py"))
    assert all(f"def {name}(" in tests for name in SHAPES.values())
