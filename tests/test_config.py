"""The typed configuration: mistakes are one sentence, generated files match the models."""

import difflib
import math
import re
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from braing3n.config import (
    MOVED,
    Config,
    OptimiserSettings,
    PreprocessSettings,
    SweepSettings,
    TokenizerSettings,
    load_config,
    parse_config,
    parse_section,
)
from braing3n.core.errors import ConfigurationError
from braing3n.upkeep.config_files import ROOT, SCHEMA_PATH, YAML_PATH, render_schema, render_yaml


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
        ({"latents": {"precision": "bfloat16"}}, "fidelity.precision must be latents.precision"),
        ({"latents": {"precision": "half"}}, "'latents.precision': "),
        ({"diffusion": {"sampling": {"solver": "midpoint"}}}, "'euler' or 'adams_bashforth'"),
        ({"diffusion": {"time_shift": 1e8}}, "diffusion.time_shift"),
        ({"diffusion": {"time_shift": 1e-8}}, "diffusion.time_shift"),
        (
            {"latents": {"encoders": ["mae", "mea"]}},
            "'mea' is no file of braing3n/encoders (braindino, ",
        ),
        ({"tokenizer": {"d": "nine"}}, "'tokenizer.d': "),
        ({"sweep": {"d": [0]}}, "'sweep.d.0': "),
        ({"sweep": {"probe": {"task": ["sex"]}}}, "did you mean 'tasks'?"),
        ({"tokenizer": {"sweep": {"d": [8]}}}, "'tokenizer.sweep' is 'sweep' now"),
        ({"tokenizer": {"sweep": {"tasks": ["sex"]}}}, "'tokenizer.sweep.tasks' is 'sweep.probe.tasks' now"),
        ({"tokenizer": {"akl": {"patience": 3}}}, "'tokenizer.akl' is 'sweep.akl' now"),
        ({"sweep": {"akl_budgets": []}}, "'sweep.akl_budgets' is 'sweep.budgets' now"),
        ({"cohorts": {"mine": {"kind": "../../x", "raw_dir": "x"}}}, "a file in cohorts/"),
        ({"fidelity": {"seed": -1}}, "'fidelity.seed': "),
        ({"preprocess": {"seed": 2**32}}, "'preprocess.seed': "),
        (
            {"diffusion": {"optimiser": {"lr": math.inf}}},
            "'diffusion.optimiser.lr': must be a finite",
        ),
        ({"run": "my run"}, "'run': 'my run' must be lower-case letters, digits and _"),
        ({"cohorts": {"Lake": {}}}, "'cohorts.Lake': 'Lake' must be lower-case letters, digits and _, and"),
        ({"cohorts": {"lake": "data"}}, "'cohorts.lake': must be a mapping of settings, not 'data'"),
        ({"pretrain": {"optimiser": {"betas": [2, 0.9]}}}, "'pretrain.optimiser.betas.0': "),
        ({"volumes": {"shape": [0, 0, 0]}}, "'volumes.shape.0': "),
        ({"tokenizer": {"widths": [64, 32, 16, -8]}}, "'tokenizer.widths.3': "),
        ({"preprocess": {"n4_iterations": []}}, "'preprocess.n4_iterations': "),
        ({"preprocess": {"brain_ml": [2500, 400]}}, "'preprocess.brain_ml': the lower end comes first"),
        ({"longitudinal": {"forecast": {"years": [0, 1]}}}, "'longitudinal.forecast.years.0': "),
        ({"control": {"scales": {"guidance": [-1]}}}, "'control.scales.guidance.0': "),
        ({"probe": {"readouts": ["knn", "knn"]}}, "'probe.readouts': knn stands there twice"),
        ({"probe": {"finetune": {"tasks": ["sex", "age", "sex"]}}}, "'probe.finetune.tasks': sex stands"),
        ({"sweep": {"d": [8, "none", 8]}}, "'sweep.d': 8 stands there twice"),
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


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_key_of_an_earlier_version_is_refused_with_the_one_that_took_its_place(old, new):
    *sections, name = old.split(".")
    data = {name: 1}
    for section in reversed(sections):
        data = {section: data}
    with pytest.raises(ConfigurationError, match=re.escape(f"my.yaml: '{old}' is '{new}' now; move its")):
        parse_config(data, "my.yaml")
    place = Config()
    for part in new.split("."):
        place = getattr(place, part)


def test_the_generated_files_match_the_models():
    for path, text in ((YAML_PATH, render_yaml()), (SCHEMA_PATH, render_schema())):
        diff = "\n".join(
            difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), lineterm="", n=0)
        )
        assert not diff, f"{path} is out of date; fix it by `python -m braing3n config write`:\n{diff}"


def test_the_generated_yaml_reads_back_as_the_defaults():
    assert parse_config(yaml.safe_load(render_yaml())) == Config()


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid(path):
    assert load_config(path).run


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
    for odd in ("abc", "0", "1.5"):
        with pytest.raises(ConfigurationError, match="--d: "):
            settings.with_d(odd)


def test_a_run_sweeps_where_it_has_one_of_the_cohorts():
    data = {"cohorts": {"upenn_gbm": {"raw_dir": "x"}, "ixi": {"raw_dir": "y"}}}
    assert parse_config(data).sweep_cohorts == ["upenn_gbm"]
    akl = ["akl-compute", "akl-epochs"]
    assert parse_config(data).sweep_arms == ["d-32", "d-128", "d-512", "d-none", *akl]
    data["sweep"] = {"d": ["none", 8], "budgets": []}
    assert parse_config(data).sweep_arms == ["d-none", "d-8"]
    data["sweep"]["cohorts"] = []
    assert (parse_config(data).sweep_cohorts, parse_config(data).sweep_arms) == ([], [])
    assert Config().sweep_arms == []


@pytest.fixture(scope="module")
def yaml_path(tmp_path_factory):
    return tmp_path_factory.mktemp("configuration") / "my.yaml"


VALUES = st.sampled_from(
    ["2011-13-45", "0x_", "0b_", "1:99", "[a", "*a", "&a", "~", "'", "{", "!!bool x", "!!int x"]
)


@given(st.text() | st.binary() | st.tuples(VALUES, VALUES).map(lambda pair: f"run: {pair[0]}\n{pair[1]}: 1"))
def test_a_file_of_any_kind_is_a_configuration_or_one_sentence(yaml_path, content):
    yaml_path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with suppress(ConfigurationError):
        assert load_config(yaml_path) == Config()


@pytest.mark.parametrize(
    "text", ["run: 2011-13-45", "run: 0x_", "a: !!bool x", "a: !!timestamp x", "[" * 1500]
)
def test_a_value_that_is_not_what_it_looks_like_is_one_sentence(yaml_path, text):
    yaml_path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"my\.yaml: cannot be read as YAML"):
        load_config(yaml_path)


def test_a_key_that_stands_twice_is_one_sentence(yaml_path):
    yaml_path.write_text("run: a\npretrain:\n  depth: 3\n  depth: 4\n")
    with pytest.raises(ConfigurationError, match=r"'depth' stands twice, in lines 3 and 4"):
        load_config(yaml_path)
    yaml_path.write_text("run: a\npretrain: {depth: 3}\ntokenizer: {d: 8}\n")  # one name in two mappings
    assert load_config(yaml_path).tokenizer.d == 8


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.yaml: cannot be read \(No such file or directory\)\."):
        load_config(tmp_path / "no.yaml")


@pytest.mark.parametrize("text", ["[]", "0", "''", "false"])
def test_what_is_no_mapping_is_not_taken_for_an_empty_one(yaml_path, text):
    yaml_path.write_text(text)
    with pytest.raises(ConfigurationError, match="must be a mapping of settings"):
        load_config(yaml_path)


TOP = ("run", "cohorts", "permissions", "resources")  # no sections, or of names of the user
SECTIONS = sorted(name for name in Config.model_fields if name not in TOP)


@given(st.sampled_from(SECTIONS), st.data())
def test_a_key_with_a_slip_names_where_it_stands_and_what_was_meant(section, data):
    known = {name for name in getattr(Config(), section).model_fields if len(name) > 3}
    key = data.draw(st.sampled_from(sorted(known)))
    place = data.draw(st.integers(1, len(key) - 1))
    slip = key[:place] + "q" + key[place:]
    with pytest.raises(ConfigurationError) as caught:
        parse_config({section: {slip: 1}}, "my.yaml")
    assert str(caught.value) == f"my.yaml: unknown key '{section}.{slip}'; did you mean '{key}'?"


@given(st.sampled_from(SECTIONS), st.integers(0, 9))
def test_the_name_of_a_section_with_a_slip_is_refused(section, place):
    slip = section[:place] + "q" + section[place:]
    with pytest.raises(ConfigurationError, match=f"unknown key '{slip}'; did you mean '{section}'"):
        parse_config({slip: {}})
