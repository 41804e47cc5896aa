"""The generators' study: each claim can fail, and nobody judges or is forecast whom a model saw."""

import copy
import importlib

import pytest

TRAIT = {
    "gain": [0.03, 0.01, 0.05],
    "no_change": 0.3,
    "inside": 0.3,
    "outside": 0.05,
    "planted_inside": 0.3,
    "planted_outside": 0.05,
    "tokenizer_inside": 0.2,
    "tokenizer_outside": 0.05,
    "composition": 0.001,
    "reversal": 0.001,
    "reconstruction": 0.2,
}
HOLDS = {
    "seed": 11,
    "control": {name: {"gap": [0.5, 0.4, 0.6], "real_accuracy": 0.9} for name in ("disease", "sex")}
    | {"age": {"r": [0.9, 0.85, 0.95], "real_r": 0.95}},
    "counterfactuals": {name: dict(TRAIT) for name in ("sex", "disease", "age")},
    "forecasts": {
        "bridge_slope": [0.5, 0.4, 0.6],
        "true_slope": [0.9, 0.8, 1.0],
        "gain": [0.002, 0.001, 0.003],
        "no_change": 0.3,
        "shuffled_slope": [0.02, -0.05, 0.09],
    },
}
BROKEN = {
    "disease: P(requested) - P(null)": ("control.disease.gap", [0.19, 0.1, 0.3]),
    "sex: P(requested) - P(null)": ("control.sex.gap", [0.5, -0.01, 0.9]),
    "age: r of requested and read": ("control.age.r", [0.69, 0.6, 0.8]),
    "sex: error inside, below no change by": ("counterfactuals.sex.gain", [0.03, -0.01, 0.05]),
    "disease: effect outside of inside": ("counterfactuals.disease.outside", 0.11),
    "age: unchanged, of the reconstruction's error": ("counterfactuals.age.composition", 0.21),
    "age: there and back": ("counterfactuals.age.reversal", 0.41),
    "bridge: years read a year": ("forecasts.bridge_slope", [0.44, 0.3, 0.6]),
    "bridge: voxel error, below no change by": ("forecasts.gain", [0.002, -0.001, 0.003]),
    "shuffled years: years read a year": ("forecasts.shuffled_slope", [-0.11, -0.2, 0.0]),
}


@pytest.fixture
def claims():
    return importlib.import_module("generators_parts.claims")


def test_all_claims_hold_of_figures_that_meet_them(claims):
    assert all(holds for _, _, holds in claims.list_claims(HOLDS))
    assert "not met" not in claims.format_table([HOLDS, HOLDS])


@pytest.mark.parametrize("name", BROKEN)
def test_a_figure_short_of_its_claim_breaks_it_and_no_other(claims, name):
    item, (where, value) = copy.deepcopy(HOLDS), BROKEN[name]
    *folders, last = where.split(".")
    part = item
    for folder in folders:
        part = part[folder]
    part[last] = value
    assert [claim for claim, _, holds in claims.list_claims(item) if not holds] == [name]
    assert claims.format_table([HOLDS, item]).count("**not met**") == 1


@pytest.fixture
def generators():
    return importlib.import_module("generators")


@pytest.mark.parametrize("name", ["diffusion", "longitudinal"])
def test_the_page_has_fresh_seeds_of_the_recipe_as_it_is(generators, name):
    part, page = generators.PARTS[name], generators.DOC.read_text()
    assert generators.put_table(page, name, "other") != page
    other = next(rival for rival in generators.PARTS if rival != name)
    kept = generators.put_table(page, other, "")
    head = next(line for line in kept.splitlines() if line.startswith("| |"))
    assert head.split("|")[2:-1] == [f" seed {seed} " for seed in part.seeds]
    assert part.describe() in kept


def test_a_table_replaces_that_of_its_generator_alone(generators):
    page = "".join(
        f"{name}\n<!-- {name}: bench/generators.py --write -->\nold {name}\n<!-- end of {name} -->\n"
        for name in generators.PARTS
    )
    found = generators.put_table(page, "diffusion", r"new \1 table")
    assert r"new \1 table" in found
    assert "old diffusion" not in found
    assert "old longitudinal" in found
    assert generators.put_table(found, "diffusion", "old diffusion").count("old") == 2
    with pytest.raises(SystemExit, match="no place for the table of diffusion"):
        generators.put_table("a page", "diffusion", "table")


def test_fresh_seeds_are_no_development_seeds(generators):
    used = [seed for part in generators.PARTS.values() for seed in part.seeds]
    assert not set(used) & set(importlib.import_module("phantoms").SEEDS["development"])


def test_a_bridge_that_reads_no_years_where_there_are_none_is_no_success(claims):
    item = copy.deepcopy(HOLDS)
    item["forecasts"] |= {"bridge_slope": [0.0, 0, 0], "true_slope": [-0.1, 0, 0]}
    assert [name for name, _, holds in claims.list_claims(item) if not holds] == ["bridge: years read a year"]


def test_people_are_in_one_split_with_all_their_visits():
    visits = importlib.import_module("generators_parts.visits")
    people = visits.draw_visits(40, 1)
    assert {len(person.visit_years) for person in people} >= {1, 4}
    assert all(len(p.visit_years) == 1 for p in people if p.dx in ("GBM", "SCZ"))
    assert max(p.age_years + p.visit_years[-1] for p in people) < visits.OLDEST_YEARS
    assert [p.visit_years for p in visits.draw_visits(40, 1)] == [p.visit_years for p in people]
    table = visits.render_visits(people[:8], 1).table
    assert len(table) == sum(len(person.visit_years) for person in people[:8])
    assert (table.groupby("person_id")["split"].nunique() == 1).all()
    first = table[table["visit"] == 0].set_index("index")["age_years"]
    assert all(first[person.index] == person.age_years for person in people[:8])
    assert table["volume_id"].is_unique
