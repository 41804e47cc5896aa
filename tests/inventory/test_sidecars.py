"""What file names and sidecars say: entities read back, and a strength is a scanner's or a flag."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.inventory.sidecars import FIELDS, Sidecars, describe_scanner, has_contrast, split_name

LABELS = st.text(st.characters(max_codepoint=127, categories=["L", "N"]), min_size=1, max_size=6)
ENTITIES = st.dictionaries(LABELS, LABELS)


@given(ENTITIES, LABELS)
def test_a_name_reads_back_as_its_entities_and_suffix(entities, suffix):
    name = "_".join([*(f"{key}-{text}" for key, text in entities.items()), suffix])
    assert split_name(name) == (entities, suffix)


@given(st.text() | st.text(st.sampled_from("ab-_")))
def test_any_name_has_a_suffix_and_only_entities_that_it_spells(name):
    entities, suffix = split_name(name)
    assert name.endswith(suffix)
    assert all(f"{key}-{text}_" in name and "-" not in key for key, text in entities.items())


@given(st.text() | st.text(st.sampled_from("0123456789.eT tesla-")), st.text())
def test_a_strength_is_a_scanners_or_a_fault(text, manufacturer):
    facts = {"Manufacturer": manufacturer, "MagneticFieldStrength": text.strip()}
    vendor, strength_t, fault = describe_scanner(facts)
    assert 0.01 <= strength_t <= 20 or bool(fault) == bool(text.strip())
    assert vendor or not manufacturer.strip()


@given(
    st.sampled_from((0.5, 1.0, 1.5, 3.0, 7.0)),
    st.sampled_from(("{:g}", "{:g}T", "{:g} T", "{:.1f} tesla", "{:g} Tesla")),
)
def test_a_strength_reads_back_with_its_unit(strength_t, form):
    assert describe_scanner({"MagneticFieldStrength": form.format(strength_t)})[1:] == (strength_t, "")


@pytest.mark.parametrize("text", ["0.001", "30", "0", "1e6", "300000"])
def test_a_strength_that_no_scanner_has_is_a_fault(text):
    _, strength_t, fault = describe_scanner({"MagneticFieldStrength": text})
    assert strength_t != strength_t
    assert f"'{text}' is not a number of tesla" in fault


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory):
    return tmp_path_factory.mktemp("dataset") / "sub-1_acq-x_T1w.nii.gz"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=5,
)


@given(JSON.map(json.dumps) | st.text())
def test_a_sidecar_of_any_kind_is_its_fields_or_a_fault(scan_path, text):
    (scan_path.parent / "T1w.json").write_text(text, encoding="utf-8")
    facts, faults = Sidecars(scan_path.parent).read(scan_path)
    try:
        content = json.loads(text.removeprefix("\ufeff"))
    except ValueError:
        content = None
    if isinstance(content, dict):
        expected = {name: str(content[name]).strip() for name in FIELDS if content.get(name) is not None}
        assert (facts, faults) == (expected, [])
    else:
        assert facts == {}
        assert faults[0].startswith("T1w.json ")


@given(st.dictionaries(st.sampled_from(("sub", "acq", "run")), st.sampled_from(("1", "2", "x"))))
def test_a_sidecar_holds_where_its_entities_are_the_scans(scan_path, entities):
    for path in scan_path.parent.glob("*.json"):
        path.unlink()
    name = "_".join([*(f"{key}-{text}" for key, text in entities.items()), "T1w.json"])
    (scan_path.parent / name).write_text('{"Manufacturer": "GE"}')
    facts, _ = Sidecars(scan_path.parent).read(scan_path)
    assert bool(facts) == (entities.items() <= {"sub": "1", "acq": "x"}.items())


@given(st.sampled_from(("", "n/a", "NA", "None", "NO", "0", "false", "False")))
def test_a_word_for_no_agent_is_none_in_any_case(text):
    assert not has_contrast({"ContrastBolusIngredient": text})
    assert has_contrast({"ContrastBolusIngredient": f"GADOLINIUM {text}"})


def test_of_one_folder_the_sidecar_with_more_entities_wins(tmp_path):
    """Whichever comes first by name."""
    for name, vendor in (("sub-1_T1w", "GE"), ("sub-1_acq-x_T1w", "Siemens"), ("sub-1_run-2_T1w", "Philips")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"Manufacturer": vendor}))
    sidecars = Sidecars(tmp_path)
    for name, vendor in (("acq-x_", "Siemens"), ("run-2_", "Philips"), ("run-1_", "GE")):
        facts, faults = sidecars.read(tmp_path / f"sub-1_{name}T1w.nii.gz")
        assert (facts["Manufacturer"], faults) == (vendor, [])
