"""Where defaults come from: the marks that users see, and the record of the paper's settings or its text."""

import json
import re

import pytest
import yaml

from braing3n.config import Config
from braing3n.upkeep.config_files import ROOT, render_schema, render_yaml

RECORD = ROOT.parent / "shared" / "paper"
SPACE, MAE, TOKENIZER = "## Space and input", "## MAE encoder", "## Tokenizer"
DIT, LONGITUDINAL, PROBING = "## Conditional DiT", "## Longitudinal DiT", "## Probing"
GENERATION = "## Generation fidelity"
NAMES = {"ucsf_pdgm": "UCSF-PDGM", "upenn_gbm": "UPENN-GBM", "adni": "ADNI", "bfloat16": "bf16"}

# setting -> heading and row of SETTINGS.md, and words of that row; {} is a number or name of the default.
IN_RECORD = {
    "preprocess.spacing_mm": (SPACE, "atlas", "{} mm isotropic"),
    "volumes.spacing_mm": (SPACE, "atlas", "{} mm isotropic"),
    "volumes.shape": (SPACE, "model input", "{} x {} x {} patches of 16^3"),
    "pretrain.patch_size": (MAE, "encoder", "patch {}^3"),
    "pretrain.depth": (MAE, "encoder", "{} layers"),
    "pretrain.width": (MAE, "encoder", "width {},"),
    "pretrain.n_heads": (MAE, "encoder", "{} heads"),
    "pretrain.decoder_depth": (MAE, "decoder", "{} layers"),
    "pretrain.decoder_n_heads": (MAE, "decoder", "{} heads"),
    "pretrain.mask_ratio": (MAE, "masking", "{}0: 360 visible"),
    "pretrain.optimiser.n_epochs": (MAE, "optimiser", "{} epochs;"),
    "pretrain.optimiser.schedule": (MAE, "optimiser", "{},"),
    "tokenizer.d": (TOKENIZER, "projection", "d = {} "),
    "tokenizer.has_attention": (TOKENIZER, "decoder", "residual blocks with attention"),
    "tokenizer.patience": (TOKENIZER, "loss", "patience {},"),
    "tokenizer.optimiser.n_epochs": (TOKENIZER, "loss", "{} epochs"),
    "tokenizer.optimiser.precision": (TOKENIZER, "loss", "{}"),
    "sweep.cohorts": (TOKENIZER, "sweep cohort", "{} + {}"),
    "sweep.test": (TOKENIZER, "sweep cohort", "held-out {} %"),
    "sweep.d": (TOKENIZER, "projection", "{{{}, {}, {}, {}}}"),
    "sweep.akl.latent_channels": (TOKENIZER, "AKL baseline", "{} x 40 x 48 x 40"),
    "diffusion.depth": (DIT, "net", "{} blocks"),
    "diffusion.n_sites": (DIT, "conditions", "site ({})"),
    "diffusion.sampling.n_steps": (DIT, "optimiser", "Euler {} steps"),
    "diffusion.sampling.solver": (DIT, "optimiser", "{} 50 steps"),
    "diffusion.sampling.n_samples": (GENERATION, "samples", "{} for each class"),
    "diffusion.optimiser.precision": (DIT, "optimiser", "{}"),
    "longitudinal.cohorts": (LONGITUDINAL, "data", "{} T1"),
    "longitudinal.modality": (LONGITUDINAL, "data", "ADNI {} "),
    "longitudinal.diseases": (LONGITUDINAL, "conditions", "disease ({}, {}, {})"),
    "longitudinal.optimiser.n_epochs": (LONGITUDINAL, "interpolant", "{} epochs"),
    "longitudinal.forecast.n_steps": (LONGITUDINAL, "sampling", "Euler {} steps"),
    "longitudinal.forecast.n_baselines": (LONGITUDINAL, "evaluation", "{} held-out baselines"),
    "probe.n_folds": (PROBING, "folds", "{}, stratified"),
    "probe.seed": (PROBING, "folds", "seed {}"),
    "probe.max_iter": (PROBING, "models", "max_iter {}"),
    "control.scales.guidance": (DIT, "guidance", "sweep {}, {}.0, {}.0"),
    "control.scales.n_samples": (GENERATION, "samples", "{} for each class"),
    "control.scales.n_steps": (DIT, "optimiser", "Euler {} steps"),
}
# Where the record has no row: a row of the paper's tables, and words of it.
IN_PAPER = {
    "longitudinal.depth": ("Longitudinal DiT", "shares Conditional-DiT backbone ({} blocks"),
    "sweep.probe.tasks": ("| Dims | MSE |", "{} AUC | {} AUC"),
}


def list_provenance(record, path=""):
    """Every setting's path and mark of the record of provenance."""
    for name, item in record.items():
        if isinstance(item, dict):
            yield from list_provenance(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item


def read_comments(text):
    """Every setting's path and the mark in its comment, of the generated YAML."""
    parents = []
    for line in text.splitlines():
        found = re.fullmatch(r"( *)(\w+):(.*)", line)
        if not found:
            continue
        parents = [*parents[: len(found[1]) // 2], found[2]]
        if found[3]:
            yield ".".join(parents), re.search(r"(?:; |\()(\w+)\)$", found[3])[1]


def read_schema(schema, node, path=""):
    """Every setting's path and mark of the JSON schema, as an editor resolves it."""
    for name, item in node["properties"].items():
        assert item["description"], path + name
        (entry,) = item.get("patternProperties", {"": item}).values()  # cohorts are alike under any key
        if "$ref" in entry:
            entry = schema["$defs"][entry["$ref"].split("/")[-1]]
        if "properties" in entry:
            yield from read_schema(schema, entry, f"{path}{name}.")
        else:
            yield path + name, item["provenance"]


def test_every_setting_shows_the_provenance_on_record():
    expected = dict(list_provenance(yaml.safe_load((ROOT / "tests" / "provenance.yaml").read_text())))
    schema = json.loads(render_schema())
    assert dict(read_schema(schema, schema)) == expected
    commented = dict(read_comments(render_yaml()))
    assert commented.pop("cohorts") == "chosen"  # whose fields stand in no file of defaults
    assert commented == {path: mark for path, mark in expected.items() if not path.startswith("cohorts.")}


def find_default(path):
    """The default's parts as the record writes them."""
    value = Config()
    for name in path.split("."):
        value = getattr(value, name)
    if path == "volumes.shape":
        value = tuple(n // 16 for n in value)
    if path == "sweep.test":
        value = 100 * value
    parts = value if isinstance(value, tuple) else (value,)
    return [NAMES.get(part, f"{part:g}" if isinstance(part, float) else str(part)) for part in parts]


@pytest.fixture(scope="module")
def record():
    """(heading, row) -> (value, provenance) of the record's tables."""
    if not RECORD.is_dir():
        pytest.skip("../shared/paper is not beside this checkout")
    rows, heading = {}, ""
    for line in (RECORD / "SETTINGS.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line
        elif line.startswith("| "):
            name, value, source = (cell.strip() for cell in line.strip("|").split("|"))
            rows[heading.split(" (")[0].split(" and memorization")[0], name] = value, source
    return rows


def list_marked():
    marks = dict(list_provenance(yaml.safe_load((ROOT / "tests" / "provenance.yaml").read_text())))
    return {path: mark for path, mark in marks.items() if mark != "chosen"}


def test_every_mark_but_chosen_has_its_place():
    assert set(list_marked()) == IN_RECORD.keys() | IN_PAPER.keys()


@pytest.mark.parametrize("path", IN_RECORD)
def test_a_default_is_that_of_the_record(path, record):
    heading, row, words = IN_RECORD[path]
    value, source = record[heading, row]
    expected = words.format(*find_default(path))
    assert expected.casefold() in value.casefold() or expected.casefold() in source.casefold()
    assert any(word in source for word in ("given", "derived"))


@pytest.mark.parametrize("path", IN_PAPER)
def test_a_default_is_that_of_the_papers_text(path):
    if not RECORD.is_dir():
        pytest.skip("../shared/paper is not beside this checkout")
    place, words = IN_PAPER[path]
    expected = words.format(*find_default(path)).casefold()
    lines = (RECORD / "braing3n.txt").read_text().splitlines()
    assert any(place.casefold() in line.casefold() and expected in line.casefold() for line in lines)


def test_a_wrong_default_is_noticed(record, monkeypatch):
    monkeypatch.setitem(globals(), "find_default", lambda path: ["13"])
    with pytest.raises(AssertionError):
        test_a_default_is_that_of_the_record("pretrain.depth", record)
