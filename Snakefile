"""BrainG3N, from raw scans to the paper's tables: one rule file a word, in the order of the data."""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from braing3n.core.process import stop_jobs_on_sigterm
from braing3n.core.stages import read_versions
from braing3n.launch import start_run
from braing3n.sweep.baselines import list_baselines

min_version("9.0")

# The checkout, also where workflow/Snakefile includes this file.
ROOT = Path(str(workflow.current_basedir))


configfile: f"{ROOT}/config/config.yaml"


# Jobs run this interpreter and this checkout, also where nobody activated the environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYTHONSAFEPATH"] = "1"  # and no Python file of the working folder
os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)

# The inventories are the DAG's leaves: the main process writes them before there is a DAG.
CONFIG = start_run(config, workflow.is_main_process, sys.argv[1:], workflow.configfiles)
STAGE = read_versions()
RESULTS = f"results/{CONFIG.run}"  # every output of a stage lies in RESULTS/<word>/
SETTINGS = f"{RESULTS}/settings"  # a file a section, written where its content changes
LOGS = f"logs/{CONFIG.run}"
BENCHMARKS = f"benchmarks/{CONFIG.run}"
# Of a job that others can run beside. Below four cores, two jobs of one thread do more than one job of two.
THREADS = 4 if (workflow.resource_settings.cores or 4) >= 4 else 1
SHARDS = [(key, f"{n:03d}") for key, item in CONFIG.cohorts.items() for n in range(item.n_shards)]


wildcard_constraints:
    cohort="[a-z][a-z0-9_]*",
    shard="[0-9]{3}",
    d="none|[0-9]+",
    baseline="|".join(list_baselines()),
    budget="compute|epochs",


localrules:
    all,


onstart:
    stop_jobs_on_sigterm()


rule all:
    """Everything: the tables, figures and index page of the run, and its model folder."""
    default_target: True
    input:
        f"{RESULTS}/paper/index.html",
        f"{RESULTS}/export/config.json",


include: "workflow/rules/inventory.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/volumes.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/latents.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/diffusion.smk"
include: "workflow/rules/longitudinal.smk"
include: "workflow/rules/probe.smk"
include: "workflow/rules/control.smk"
include: "workflow/rules/fidelity.smk"
include: "workflow/rules/memorization.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/paper.smk"
