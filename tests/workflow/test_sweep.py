"""The sweep over d is planned where a run has its cohorts, a dozen jobs, and nowhere else."""

import json
import re

import yaml

from braing3n.config import parse_config

from .conftest import copy_checkout, plan, snakemake, touch_scans

ARMS = ["d-32", "d-128", "d-512", "d-none"]
# Jobs of the sweep with the paper's settings.
JOBS = {
    "choose_sweep_volumes": 1,
    "train_sweep_mae": 1,
    "train_sweep_tokenizer": 4,
    "train_baseline": 2,
    "cache_sweep_latents": 4,
    "cache_baseline_latents": 2,
    "extract_sweep_features": 1,
    "probe_sweep": 1,
}


def write_config(folder, **sweep):
    """A run of two cohorts, of which one is the sweep's; scans that only a dry run can use."""
    config = {"run": "sweeping", "cohorts": {}, "sweep": sweep}
    for name in ("upenn_gbm", "ixi"):
        touch_scans(folder / name)
        config["cohorts"][name] = {"kind": "bids", "raw_dir": str(folder / name), "n_shards": 2}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_paper_wants_the_sweep_and_its_own_encoder(tmp_path):
    planned = plan(tmp_path, config=write_config(tmp_path))
    assert {rule: n for rule, n in planned.items() if rule in JOBS} == JOBS
    assert planned["train_mae"] == planned["train_tokenizer"] == 1


def test_a_run_without_its_cohorts_or_asked_for_none_plans_none_of_it(tmp_path):
    for cohorts in (["ucsf_pdgm"], []):
        planned = plan(tmp_path, config=write_config(tmp_path, cohorts=cohorts))
        assert not [rule for rule in planned if rule in JOBS]
        assert planned["train_tokenizer"] == 1
    done = snakemake(tmp_path, "sweep", "--dry-run", config=write_config(tmp_path, cohorts=[]))
    assert "Table 5 is n/a: this run has no cohort of sweep.cohorts." in done.stdout + done.stderr


def test_table_5_alone_trains_nothing_on_the_whole_corpus(tmp_path):
    config = write_config(tmp_path)
    done = snakemake(tmp_path, "sweep", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    rules = set(re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE))
    assert set(JOBS) <= rules
    assert not rules & {"train_mae", "train_tokenizer", "cache_latents", "train_diffusion"}
    job = text[text.index("rule train_sweep_mae:") :].split("rule ")[1]
    assert "volumes/upenn_gbm/shard-001.parquet" in job
    assert "volumes/ixi" not in job, "nothing but the sweep's cohorts"


def test_every_arm_trains_with_its_own_d_and_a_sweeps_setting_replans_no_other_tokenizer(tmp_path):
    commands = []
    for change in ({}, {"probe": {"tasks": ["sex"]}}):
        config = write_config(tmp_path, **change)
        done = snakemake(tmp_path, "tokenizer", "sweep", "--dry-run", "--printshellcmds", config=config)
        assert done.returncode == 0, done.stderr
        lines = re.findall(r"tokenizer train .*", done.stdout + done.stderr)
        commands.append(sorted(lines))
        words = [(re.search(r"--metrics results/sweeping/(\S*?)/metrics", line), line) for line in lines]
        found = {name[1]: re.search(r"--d (\S+)", line)[1] for name, line in words}
        assert found == {
            "tokenizer": str(parse_config({}).tokenizer.d),
            **{f"sweep/{arm}": d for arm, d in zip(ARMS, ("32", "128", "512", "none"), strict=True)},
        }
        settings = {re.search(r"--settings (\S+)", line)[1] for line in lines}
        assert settings == {"results/sweeping/settings/tokenizer.json"}
        assert "sweep" not in (tmp_path / settings.pop()).read_text()
    assert commands[0] == commands[1]


def test_each_budget_has_an_akl_of_its_own(tmp_path):
    done = snakemake(tmp_path, "sweep", "--dry-run", "--printshellcmds", config=write_config(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"sweep baseline --name akl .*", done.stdout + done.stderr)
    found = {re.search(r"--weights (\S+)", line)[1]: re.search(r"--budget (\w+)", line)[1] for line in lines}
    folder = "results/sweeping/sweep"
    assert found == {f"{folder}/akl-{b}/akl.safetensors": b for b in ("compute", "epochs")}
    (probed,) = re.findall(r"sweep probe --arms (.*?) --labels", done.stdout + done.stderr)
    assert probed.split() == [*ARMS, "akl-compute", "akl-epochs"]

    planned = plan(tmp_path, config=write_config(tmp_path, budgets=["compute"]))
    assert planned["train_baseline"] == 1


def test_a_baseline_is_one_file_dropped_into_the_folder(tmp_path):
    root = copy_checkout(tmp_path / "checkout")
    folder = root / "braing3n" / "sweep" / "baselines"
    code = (
        (folder / "akl.py")
        .read_text()
        .replace("latent_channels: int = setting(8,", "codes: int = setting(3,")
    )
    (folder / "vq.py").write_text(code)
    config = write_config(tmp_path, vq={"codes": 5})
    done = snakemake(tmp_path, "sweep", "--dry-run", "--printshellcmds", config=config, root=root)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    trained = re.findall(
        r"sweep baseline --name (\w+) .*--weights (\S+) .*--settings (\S+) .*--budget (\w+)", text
    )
    results = "results/sweeping"
    assert sorted(trained) == [
        (
            name,
            f"{results}/sweep/{name}-{budget}/{name}.safetensors",
            f"{results}/settings/sweep.{name}.json",
            budget,
        )
        for name in ("akl", "vq")
        for budget in ("compute", "epochs")
    ]
    assert json.loads((tmp_path / results / "settings" / "sweep.vq.json").read_text())["codes"] == 5
    cached = re.findall(r"sweep cache-baseline --weights \S+/(\w+)\.safetensors .*--latents (\S+)", text)
    assert {path.split("/")[-2] for _, path in cached} == {
        "akl-compute",
        "akl-epochs",
        "vq-compute",
        "vq-epochs",
    }
    assert all(path.split("/")[-2].startswith(name) for name, path in cached)
    (probed,) = re.findall(r"sweep probe --arms (.*?) --labels", text)
    assert probed.split()[-4:] == ["akl-compute", "akl-epochs", "vq-compute", "vq-epochs"]
