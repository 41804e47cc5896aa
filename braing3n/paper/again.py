"""Write the pages again from results that exist: nothing is trained, and what is out of date is reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from braing3n.config import load_config
from braing3n.core.errors import ConfigurationError
from braing3n.paper.write import write_paper

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
OWN_RULES = ("paper", "tabulate_paper")


def write_again(config: Path) -> list[str]:
    """Write the pages and tables of a configuration's run; returns what in them is stale, a sentence a rule.

    Raises:
        ConfigurationError: the run has no results, or the workflow cannot be planned.
    """
    results_dir = Path("results") / load_config(config).run
    if not results_dir.is_dir():
        raise ConfigurationError(f"{results_dir}: no such results folder; run the workflow first.")
    stale = find_stale(config)
    write_paper(results_dir, results_dir / "paper", stale)
    return stale


def find_stale(config: Path) -> list[str]:
    """What Snakemake would make again before the paper, a sentence a rule; it is asked and runs nothing."""
    command = [sys.executable, "-m", "snakemake", "paper", "--summary", "--cores", "1"]
    command += ["--snakefile", str(SNAKEFILE), "--configfile", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        printed = done.stderr.strip().splitlines() or ["no reason given"]
        reason = printed[-1].removeprefix("braing3n: ")
        raise ConfigurationError(f"{config}: the workflow cannot be planned: {reason}")
    return describe_stale(done.stdout)


def describe_stale(summary: str) -> list[str]:
    """A sentence for each rule of Snakemake's summary whose results would be made again."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in summary.splitlines():
        cells = line.split("\t")
        if len(cells) == 6 and cells[5] == "update pending" and cells[2] not in OWN_RULES:
            found.setdefault(cells[2], []).append((cells[0], cells[4]))
    return [_describe(rule, files) for rule, files in sorted(found.items())]


def _describe(rule: str, files: list[tuple[str, str]]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    whys = sorted({why for _, why in files} - {"ok"}) or ["what it is made from is out of date"]
    return f"Out of date: {files[0][0]}{more}, of {rule} ({', '.join(whys)})."
