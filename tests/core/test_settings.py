"""Settings as text: whatever a file or an argument holds is a section or one sentence."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.core.errors import ConfigurationError
from braing3n.core.settings import OptimiserSettings, parse_section, read_settings, split_section, validate
from braing3n.preprocess.settings import PreprocessSettings


@pytest.fixture(scope="module")
def json_path(tmp_path_factory):
    return tmp_path_factory.mktemp("settings") / "optimiser.json"


@given(st.binary() | st.text(st.sampled_from('{}[]:,"1e-.nul ')).map(str.encode))
def test_a_file_of_any_kind_is_a_section_or_one_sentence(json_path, content):
    json_path.write_bytes(content)
    with suppress(ConfigurationError):
        assert parse_section(OptimiserSettings, json_path) == OptimiserSettings()


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"1" * 5000, b'{"lr": ' + b"1" * 5000 + b"}"])
def test_what_no_reader_takes_is_one_sentence(json_path, content):
    json_path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not valid JSON"):
        read_settings(json_path)


@given(st.text(st.sampled_from('{}[]:,"1e-.nul ')))
def test_an_argument_of_any_kind_is_a_section_or_one_sentence(text):
    with pytest.raises(ConfigurationError):
        parse_section(OptimiserSettings, "{" + text + "?")


@given(
    st.builds(
        OptimiserSettings,
        lr=st.floats(1e-9, 1e9),
        betas=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        batch_size=st.integers(1, 10**9),
        schedule=st.sampled_from(("cosine", "constant")),
        compile_blocks=st.booleans(),
    )
)
def test_a_section_reads_back_from_its_text(section):
    assert parse_section(OptimiserSettings, section.as_json()) == section


@pytest.mark.parametrize("model", [OptimiserSettings, PreprocessSettings])
@given(data=st.data())
def test_a_key_with_a_slip_is_refused_and_the_one_that_was_meant_is_named(model, data):
    key = data.draw(st.sampled_from(sorted(name for name in model.model_fields if len(name) > 3)))
    place = data.draw(st.integers(1, len(key) - 1))
    slip = data.draw(
        st.sampled_from(
            [
                key[:place] + key[place + 1 :],
                key[:place] + "q" + key[place:],
                key[:place] + "q" + key[place + 1 :],
            ]
        )
    )
    with pytest.raises(ConfigurationError) as caught:
        validate(model, {slip: model.model_fields[key].default}, "my.yaml")
    assert str(caught.value) == f"my.yaml: unknown key '{slip}'; did you mean '{key}'?"


def test_what_stands_apart_has_its_own_file():
    section = PreprocessSettings()
    files = dict(split_section("preprocess", section))
    assert set(files) == {"preprocess", *(f"preprocess.{name}" for name in section.list_apart())}
