"""The typed configuration: the sections of all words, read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import model_validator

from braing3n.cohort.settings import CohortSettings
from braing3n.config_fit import find_misfit
from braing3n.control.settings import ControlSettings
from braing3n.core.errors import ConfigurationError
from braing3n.core.settings import (
    Name,
    OptimiserSettings,
    ResourceSettings,
    Settings,
    parse_section,
    setting,
    validate,
)
from braing3n.diffusion.settings import DiffusionSettings
from braing3n.export.settings import ExportSettings
from braing3n.fidelity.settings import FidelitySettings
from braing3n.latents.settings import LatentsSettings
from braing3n.longitudinal.settings import LongitudinalSettings
from braing3n.manifest.settings import ManifestSettings
from braing3n.memorization.settings import MemorizationSettings
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.pretrain.settings import PretrainSettings
from braing3n.probe.settings import ProbeSettings
from braing3n.sweep.baselines import list_baselines
from braing3n.sweep.settings import SweepProbeSettings, SweepSettings
from braing3n.tokenizer.settings import TokenizerSettings
from braing3n.volumes.settings import VolumesSettings

__all__ = [
    "CohortSettings",
    "Config",
    "ControlSettings",
    "DiffusionSettings",
    "ExportSettings",
    "FidelitySettings",
    "LatentsSettings",
    "LongitudinalSettings",
    "ManifestSettings",
    "MemorizationSettings",
    "OptimiserSettings",
    "PreprocessSettings",
    "PretrainSettings",
    "ProbeSettings",
    "ResourceSettings",
    "Settings",
    "SweepProbeSettings",
    "SweepSettings",
    "TokenizerSettings",
    "VolumesSettings",
    "load_config",
    "parse_config",
    "parse_section",
]

# What PyYAML lets through of a value that is not what it looks like: `2011-13-45`, `0x_`, `!!bool x`.
OF_VALUES = (ValueError, LookupError, AttributeError, RecursionError)
# Keys of earlier versions -> where their settings stand now.
MOVED = {
    "tokenizer.sweep.tasks": "sweep.probe.tasks",
    "tokenizer.sweep.n_pca_components": "sweep.probe.n_pca_components",
    "tokenizer.sweep": "sweep",
    "tokenizer.akl": "sweep.akl",
    "diffusion.guidance": "diffusion.sampling.guidance",
    "diffusion.guidance_form": "diffusion.sampling.guidance_form",
    "diffusion.n_sampling_steps": "diffusion.sampling.n_steps",
    "diffusion.n_samples": "diffusion.sampling.n_samples",
    "diffusion.precision": "diffusion.sampling.precision",
    "sweep.akl_budgets": "sweep.budgets",
}


class Config(Settings):
    """One run: what goes in, how each stage is set."""

    run: Name = setting("full", "name of the results folder")
    cohorts: dict[Name, CohortSettings] = setting(dict, "cohort key -> where it lies")
    permissions: Literal["umask", "group", "private"] = setting(
        "umask", "who may read results: as the umask says, the user's group too, or the user alone"
    )
    resources: ResourceSettings = setting(ResourceSettings, "atlas, templates and weights")
    preprocess: PreprocessSettings = setting(PreprocessSettings, "raw scans to SRI24")
    volumes: VolumesSettings = setting(VolumesSettings, "model-ready arrays")
    manifest: ManifestSettings = setting(
        ManifestSettings, "splits, review, and counts against the expected ones"
    )
    pretrain: PretrainSettings = setting(PretrainSettings, "MAE encoder")
    tokenizer: TokenizerSettings = setting(TokenizerSettings, "projection and CNN decoder")
    sweep: SweepSettings = setting(SweepSettings, "Table 5, in the runs that have its cohorts")
    latents: LatentsSettings = setting(LatentsSettings, "cached tokens and features")
    diffusion: DiffusionSettings = setting(DiffusionSettings, "conditional DiT")
    longitudinal: LongitudinalSettings = setting(LongitudinalSettings, "bridge DiT and forecasts")
    probe: ProbeSettings = setting(ProbeSettings, "linear probes")
    control: ControlSettings = setting(ControlSettings, "samples read by probes, and counterfactuals")
    fidelity: FidelitySettings = setting(FidelitySettings, "Fréchet distances")
    memorization: MemorizationSettings = setting(MemorizationSettings, "nearest-neighbour audit")
    export: ExportSettings = setting(ExportSettings, "model folder")

    @property
    def sweep_cohorts(self) -> list[str]:
        """The cohorts of the sweep over d that this run has; none: it has no sweep."""
        return [name for name in self.sweep.cohorts if name in self.cohorts]

    @property
    def sweep_arms(self) -> list[str]:
        """What the sweep trains: d-32, akl-compute and the like."""
        arms = [f"d-{d}" for d in self.sweep.d]
        arms += [f"{name}-{budget}" for name in list_baselines() for budget in self.sweep.budgets]
        return arms if self.sweep_cohorts else []

    @model_validator(mode="after")
    def _fits_together(self):
        if fault := find_misfit(self):
            raise ValueError(fault)
        return self


def load_config(path: str | Path) -> Config:
    """Read a YAML file of what differs from the paper.

    Raises:
        ConfigurationError: one sentence that names the file, the key and the key that was probably meant.

    Example:
        >>> braing3n.load_config("config/demo.yaml").preprocess.spacing_mm
        4.0
    """
    data = read_yaml(path)
    return parse_config({} if data is None else data, str(path))


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigurationError: it cannot be read, or a key stands twice, of which YAML would take the last in
            silence.
    """
    path = Path(path)
    try:
        return yaml.load(path.read_text(), _UniqueKeys)  # a safe loader
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, *OF_VALUES) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]}).") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which no key of a mapping stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line = key_node.start_mark.line + 1
            if (first := seen.setdefault(key_node.value, line)) != line:
                raise yaml.YAMLError(f"'{key_node.value}' stands twice, in lines {first} and {line}")
        return super().construct_mapping(node, deep)


def parse_config(data: Any, where: str = "configuration") -> Config:
    """Check a mapping against the models.

    Raises:
        ConfigurationError: one sentence that names the key, and the key that was probably meant.
    """
    if isinstance(data, dict):
        _check_moved(data, where)
        data = _merge(Config().model_dump(mode="json"), data)
    return validate(Config, data, where)


def _check_moved(data: dict, where: str) -> None:
    """Refuse a key of an earlier version.

    Raises:
        ConfigurationError: names the key and the one that took its place.
    """
    for old, new in MOVED.items():
        part: Any = data
        for name in old.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        if part is not None:
            raise ConfigurationError(f"{where}: '{old}' is '{new}' now; move its settings there.")


def _merge(defaults: dict, data: dict) -> dict:
    """The defaults with what differs, section by section, as Snakemake merges configuration files."""
    merged = defaults | data
    for key in defaults.keys() & data.keys():
        if isinstance(defaults[key], dict) and isinstance(data[key], dict):
            merged[key] = _merge(defaults[key], data[key])
    return merged
