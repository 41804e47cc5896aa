"""What a run left behind: its tables, each there or missing with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braing3n.control.contracts import CONTROL, COUNTERFACTUALS, GUIDANCE, JUDGED, USEFULNESS
from braing3n.core.contracts import read_table
from braing3n.fidelity.contracts import ANATOMY, DISTANCES
from braing3n.longitudinal.contracts import AGEING, CHANGES
from braing3n.manifest.contracts import COUNTS, FLOW, LABELS, NEAR_DUPLICATES, QUALITY, SEGMENTATIONS
from braing3n.memorization.contracts import COPIES, MEMBERSHIP, MEMORIZATION, PLANTED
from braing3n.pretrain.contracts import MASKED_LOSS
from braing3n.probe.contracts import CHECKS, CONTROLS, DIFFERENCES, FAIRNESS, READOUTS, RIVALS, SCORES
from braing3n.probe.plan import read_weights
from braing3n.sweep.contracts import SWEEP
from braing3n.volumes.contracts import VOLUME_LIST

# Result tables: where they lie in a run, and what they must hold.
TABLES = {
    "volume_list": ("manifest/volume_list.parquet", VOLUME_LIST),
    "labels": ("manifest/labels.parquet", LABELS),
    "flow": ("manifest/flow.parquet", FLOW),
    "ingest_flow": ("manifest/ingest_flow.parquet", FLOW),
    "counts": ("manifest/counts.parquet", COUNTS),
    "near_duplicates": ("manifest/near_duplicates.parquet", NEAR_DUPLICATES),
    "segmentations": ("manifest/segmentations.parquet", SEGMENTATIONS),
    "quality": ("manifest/quality.parquet", QUALITY),
    "masked_loss": ("pretrain/masked_loss.parquet", MASKED_LOSS),
    "scores": ("probe/scores.parquet", SCORES),
    "differences": ("probe/differences.parquet", DIFFERENCES),
    "rivals": ("probe/rivals.parquet", RIVALS),
    "readouts": ("probe/readouts.parquet", READOUTS),
    "checks": ("probe/checks.parquet", CHECKS),
    "fairness": ("probe/fairness.parquet", FAIRNESS),
    "controls": ("probe/controls.parquet", CONTROLS),
    "sweep": ("sweep/scores.parquet", SWEEP),
    "sweep_list": ("sweep/volume_list.parquet", VOLUME_LIST),
    "control": ("control/scores.parquet", CONTROL),
    "guidance": ("control/guidance.parquet", GUIDANCE),
    "counterfactuals": ("control/counterfactuals.parquet", COUNTERFACTUALS),
    "usefulness": ("control/usefulness.parquet", USEFULNESS),
    "judged": ("control/judged.parquet", JUDGED),
    "ageing": ("longitudinal/ageing.parquet", AGEING),
    "changes": ("longitudinal/changes.parquet", CHANGES),
    "distances": ("fidelity/distances.parquet", DISTANCES),
    "anatomy": ("fidelity/anatomy.parquet", ANATOMY),
    "memorization": ("memorization/distances.parquet", MEMORIZATION),
    "membership": ("memorization/membership.parquet", MEMBERSHIP),
    "copies": ("memorization/copies.parquet", COPIES),
    "contrastive": ("memorization/contrastive.parquet", MEMORIZATION),
    "planted": ("memorization/planted.parquet", PLANTED),
}
CHECKOUT = Path(__file__).parents[2]
METRICS_PATH = "tokenizer/metrics.json"


def locate(name: str) -> str:
    """Where a table of `TABLES` lies in a results folder."""
    return TABLES[name][0]


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
            place, contract = TABLES[name]
            path = self.results_dir / place
            self._tables[name] = read_table(path, contract) if path.exists() else None
        return self._tables[name]

    def read_flow(self) -> pd.DataFrame | None:
        """The accounting of ingest and of preprocess, one under the other."""
        flows = [table for table in (self.read("ingest_flow"), self.read("flow")) if table is not None]
        return pd.concat(flows, ignore_index=True) if flows else None

    def read_metrics(self, name: str = METRICS_PATH) -> dict | None:
        """The metrics of the tokenizer, or of an arm of the sweep."""
        path = self.results_dir / name
        return json.loads(path.read_text()) if path.exists() else None

    def read_weights(self, encoder: str) -> str:
        """The sha256 of the weights that an encoder's features come from; empty where none are recorded."""
        path = self.results_dir / "latents" / f"features_{encoder}.npz"
        return read_weights(path) if path.exists() else ""

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
    return f"n/a: this run has no {locate(name) if name in TABLES else name}"
