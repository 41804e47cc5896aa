"""What a run left behind: its tables, each there or missing with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braing3n.core.contracts import read_table

# Result tables by the name of their contract: where they lie in a run.
TABLES = {
    "volume_list": "manifest/volume_list.parquet",
    "labels": "manifest/labels.parquet",
    "flow": "manifest/flow.parquet",
    "ingest_flow": "manifest/ingest_flow.parquet",
    "counts": "manifest/counts.parquet",
    "near_duplicates": "manifest/near_duplicates.parquet",
    "segmentations": "manifest/segmentations.parquet",
    "quality": "manifest/quality.parquet",
    "masked_loss": "pretrain/masked_loss.parquet",
    "scores": "probe/scores.parquet",
    "differences": "probe/differences.parquet",
    "controls": "probe/controls.parquet",
    "sweep": "sweep/scores.parquet",
    "sweep_list": "sweep/volume_list.parquet",
    "judged": "diffusion/judged.parquet",
    "distances": "fidelity/distances.parquet",
    "memorization": "memorization/distances.parquet",
}
# Tables that have another one's contract.
CONTRACT_OF = {"ingest_flow": "flow", "sweep_list": "volume_list"}
CHECKOUT = Path(__file__).parents[2]
METRICS_PATH = "tokenizer/metrics.json"


@dataclass
class Results:
    """One run's results folder; a table that is not there reads as None."""

    results_dir: Path

    def __post_init__(self):
        self.results_dir = Path(self.results_dir)
        self._tables: dict[str, pd.DataFrame | None] = {}

    @property
    def run(self) -> str:
        """The run's name, which its folder has."""
        return self.results_dir.resolve().name

    def read(self, name: str) -> pd.DataFrame | None:
        """A table of `TABLES`, checked against its contract.

        Raises:
            ContractError: the file is there and breaks its contract.
        """
        if name not in self._tables:
            path = self.results_dir / TABLES[name]
            contract = CONTRACT_OF.get(name, name)
            self._tables[name] = read_table(path, contract) if path.exists() else None
        return self._tables[name]

    def read_flow(self) -> pd.DataFrame | None:
        """The books of ingest and of preprocess, one under the other."""
        books = [book for book in (self.read("ingest_flow"), self.read("flow")) if book is not None]
        return pd.concat(books, ignore_index=True) if books else None

    def read_metrics(self, name: str = METRICS_PATH) -> dict | None:
        """The metrics of the tokenizer, or of an arm of the sweep."""
        path = self.results_dir / name
        return json.loads(path.read_text()) if path.exists() else None

    def list_cohorts(self) -> list[str] | None:
        """The cohorts that the run is configured with; None where nothing says which."""
        counts = self.read("counts")
        return None if counts is None else counts["cohort"].tolist()

    def command(self, path: str) -> str:
        """The command that makes one file of this run again."""
        return f"snakemake results/{self.run}/{path} --cores 2{self._name_configuration()}"

    def _name_configuration(self) -> str:
        """The option with the run's configuration, where a file of the checkout has the run's name."""
        if self.run == "full":
            return " --configfile FILE"
        name = f"config/{self.run}.yaml"
        return f" --configfile {name if (CHECKOUT / name).is_file() else 'FILE'}"

    def read_settings(self) -> str:
        """What the run was last configured with, as JSON; empty where nothing says that."""
        path = self.results_dir / "inventory" / "settings.json"
        return path.read_text() if path.is_file() else ""


def explain_missing(name: str) -> str:
    """The cell of a number whose table is not there."""
    return f"n/a: this run has no {TABLES.get(name, name)}"
