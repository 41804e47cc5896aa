"""The typed configuration: mistakes are one sentence, generated files match the models."""

import difflib

import pytest
import yaml

from braing3n.config import (
    Config,
    OptimiserSettings,
    PreprocessSettings,
    SweepSettings,
    TokenizerSettings,
    load_config,
    parse_config,
    parse_section,
)
from braing3n.config_files import ROOT, SCHEMA_PATH, YAML_PATH, render_schema, render_yaml
from braing3n.errors import ConfigurationError


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"preproces": {}}, "did you mean 'preprocess'?"),
        ({"preprocess": {"spacing": 1}}, "did you mean 'spacing_mm'?"),
        ({"pretrain": {"optimiser": {"lerning": 1}}}, "pretrain.optimiser.lerning"),
        ({"cohorts": {"mine": {"raw_dirr": "x"}}}, "did you mean 'raw_dir'?"),
        ({"cohorts": {"mine": {"kind": "bids"}}}, "raw_dir"),
        ({"preprocess": {"spacing_mm": -1}}, "preprocess.spacing_mm"),
        ({"volumes": {"spacing_mm": 1.5}}, "whole multiple"),
        ({"tokenizer": {"d": "nine"}}, "'tokenizer.d': "),
        ({"tokenizer": {"sweep": {"d": [0]}}}, "'tokenizer.sweep.d.0': "),
        ({"tokenizer": {"sweep": {"task": ["sex"]}}}, "did you mean 'tasks'?"),
        ({"cohorts": {"mine": {"kind": "../../x", "raw_dir": "x"}}}, "a file in cohorts/"),
        ([], "mapping"),
    ],
)
def test_a_mistake_is_one_sentence(data, expected):
    with pytest.raises(ConfigurationError) as caught:
        parse_config(data, "my.yaml")
    message = str(caught.value)
    assert expected in message
    assert message.startswith("my.yaml: ")
    assert "\n" not in message


def test_the_generated_files_match_the_models():
    for path, text in ((YAML_PATH, render_yaml()), (SCHEMA_PATH, render_schema())):
        diff = "\n".join(
            difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), lineterm="", n=0)
        )
        assert not diff, f"{path} is out of date; mend it by `python -m braing3n config write`:\n{diff}"


def test_the_generated_yaml_reads_back_as_the_defaults():
    assert parse_config(yaml.safe_load(render_yaml())) == Config()


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid(path):
    assert load_config(path).run


def test_every_setting_is_described_with_its_provenance():
    def walk(model):
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}", field
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                yield from walk(field.annotation)

    for name, field in walk(Config):
        assert field.description, name
        assert field.json_schema_extra["provenance"] in ("given", "derived", "chosen"), name


def test_a_section_keeps_its_own_defaults_beside_what_differs():
    config = parse_config({"diffusion": {"optimiser": {"lr": 0.5}}})
    assert config.diffusion.optimiser.lr == 0.5
    assert config.diffusion.optimiser.n_epochs == Config().diffusion.optimiser.n_epochs


def test_a_section_comes_from_json_or_from_a_file():
    section = load_config(ROOT / "config" / "demo.yaml").preprocess
    assert parse_section(PreprocessSettings, section.as_json()) == section
    assert parse_section(PreprocessSettings, str(ROOT / "config" / "demo.yaml")) == section
    with pytest.raises(ConfigurationError, match="not valid JSON"):
        parse_section(OptimiserSettings, "{lr: 1}")
    assert parse_section(SweepSettings, str(ROOT / "config" / "demo.yaml")).cohorts == ()
    with pytest.raises(ConfigurationError, match="no one section for OptimiserSettings"):
        parse_section(OptimiserSettings, str(ROOT / "config" / "demo.yaml"))


def test_a_bottleneck_is_a_number_or_none():
    settings = TokenizerSettings(n_blocks=3)
    assert settings.with_d("128") == TokenizerSettings(n_blocks=3, d=128)
    assert settings.with_d("none") == TokenizerSettings(n_blocks=3, d="none")


def test_a_run_sweeps_where_it_has_one_of_the_cohorts():
    data = {"cohorts": {"upenn_gbm": {"raw_dir": "x"}, "ixi": {"raw_dir": "y"}}}
    assert parse_config(data).sweep_cohorts == ["upenn_gbm"]
    assert parse_config(data).sweep_arms == ["d-32", "d-128", "d-512", "d-none", "akl"]
    data["tokenizer"] = {"sweep": {"d": ["none", 8], "has_akl": False}}
    assert parse_config(data).sweep_arms == ["d-none", "d-8"]
    data["tokenizer"]["sweep"]["cohorts"] = []
    assert (parse_config(data).sweep_cohorts, parse_config(data).sweep_arms) == ([], [])
    assert Config().sweep_arms == []
