"""Figures 4 and 7: who is shown, what the numbers are of, and what stands in which panel."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import check_table
from braing3n.longitudinal import figures
from braing3n.longitudinal.contracts import CHANGES
from braing3n.longitudinal.figures import choose_people, choose_scales, show_person, tabulate, write_figures
from braing3n.training.picture import cut_planes

SIDES = (3, 4, 5)


def list_rows(people):
    """Forecast rows of people (id, disease, years to true later visits), 0, 1 and 4 years on beside these."""
    rows = []
    for name, disease, visits in people:
        known = {
            "volume_id": name,
            "person_id": f"p-{name}",
            "disease": disease,
            "sex": "F",
            "age_years": 70.4,
        }
        rows += [known | {"years": years, "later_volume_id": ""} for years in (0.0, 1.0, 4.0)]
        rows += [known | {"years": years, "later_volume_id": f"{name}+{years}"} for years in visits]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("people", "chosen"),
    [
        ([("a", "HC", [2]), ("b", "HC", [9]), ("c", "AD", [1]), ("d", "MCI", [0.5, 3])], ["b", "d"]),
        ([("a", "HC", [2]), ("b", "HC", [9]), ("c", "HC", [1])], ["b", "a"]),
        ([("a", "AD", [2]), ("b", "MCI", [2])], ["a", "b"]),
        ([("b", "HC", []), ("a", "HC", []), ("c", "AD", [])], ["a", "c"]),
        ([("a", "AD", [1])], ["a"]),
    ],
)
def test_one_healthy_and_one_ill_person_with_the_longest_follow_up_are_shown(people, chosen):
    """Whatever the order of the rows."""
    rows = list_rows(people)
    assert choose_people(rows) == chosen
    assert choose_people(rows[::-1].reset_index(drop=True)) == chosen


def test_the_own_scale_and_the_farthest_of_the_others_are_shown():
    assert choose_scales(1.5, (1.0, 1.5, 2.0, 3.0)) == [1.5, 3.0]
    assert choose_scales(3.0, (1.0, 2.0)) == [3.0, 1.0]
    assert choose_scales(2.0, (2.0,)) == [2.0]


@pytest.fixture
def person():
    """A person's rows, tokens that are images themselves, under two scales, and true visits."""
    table = list_rows([("other", "HC", []), ("a", "AD", [2.0, 3.5])]).iloc[3:]
    rng = np.random.default_rng(0)
    drawn = {scale: rng.normal(size=(8, *SIDES)) for scale in (1.5, 3.0)}
    ends = {name: rng.normal(size=SIDES) for name in ("a", "a+2.0", "a+3.5")}
    return table, drawn, ends


def test_numbers_are_those_of_loops_over_decoded_volumes(person):
    table, drawn, ends = person
    shown = show_person(table, drawn, ends, lambda tokens: tokens)
    found = check_table(tabulate([shown]), CHANGES, "changes")
    assert set(found["person_id"]) == {"p-a"}
    rows = {(row["guidance"], row["years"]): row for row in found.to_dict("records")}
    for scale, tokens in drawn.items():
        start, one, four, _, late = tokens[3:]  # 0, 1, 4, 2 and 3.5 years on
        for years, image in ((1.0, one), (4.0, four), (3.5, late)):
            assert rows[scale, years]["change"] == pytest.approx(np.abs(image - start).mean())
            np.testing.assert_array_equal(
                shown.by_years[scale, years][0]
                if years != 3.5
                else shown.follow_up[f"change, w {scale:g}"][0],
                cut_planes(image - start)[0],
            )
        assert rows[scale, 3.5]["error"] == pytest.approx(np.abs(late - ends["a+3.5"]).mean())
        assert np.isnan(rows[scale, 4.0]["error"])
        assert (scale, 2.0) not in rows
    (true,) = found[found["method"] == "true later visit"].to_dict("records")
    assert (true["years"], true["change"]) == (3.5, pytest.approx(np.abs(ends["a+3.5"] - ends["a"]).mean()))
    assert list(shown.images) == [
        "earlier visit",
        "true visit, 3.5 y on",
        "forecast, 3.5 y, w 1.5",
        "forecast, 3.5 y, w 3",
    ]
    np.testing.assert_array_equal(shown.images["forecast, 3.5 y, w 3"][2], cut_planes(drawn[3.0][7])[2])
    missed = drawn[3.0][7] - ends["a+3.5"]
    np.testing.assert_array_equal(shown.follow_up["error, w 3"][1], cut_planes(missed)[1])


def test_panels_hold_the_images_changes_and_a_curve_that_starts_at_nothing(person, tmp_path, monkeypatch):
    table, drawn, ends = person
    people = [show_person(table, drawn, ends, lambda tokens: tokens)]
    kept = []
    monkeypatch.setattr(figures, "_close", lambda figure, *_: kept.append(figure))
    figures.draw_follow_up(people, tmp_path / "a.png")
    figures.draw_years(people, tmp_path / "b.png")
    follow_up, by_years = kept
    titles = [panel.get_title() for panel in follow_up.axes if panel.images]
    changes = ["true change", "change, w 1.5", "change, w 3", "error, w 1.5", "error, w 3"]
    assert titles[:9] == [*people[0].images, *changes]
    assert sum(bool(panel.images) for panel in by_years.axes) == 4  # two scales, 1 and 4 years on
    (curve,) = [panel for panel in by_years.axes if panel.lines]
    lines = {line.get_label(): line.get_xydata() for line in curve.lines}
    assert lines["forecast, w 3"][:, 0].tolist() == [0.0, 1.0, 3.5, 4.0]
    assert lines["forecast, w 3"][0, 1] == 0
    assert lines["true later visit"].tolist() == [[3.5, np.abs(ends["a+3.5"] - ends["a"]).mean()]]


def test_without_a_later_visit_the_last_year_is_shown_and_without_people_nothing(person, tmp_path):
    table, drawn, ends = person
    shown = show_person(table[table["later_volume_id"] == ""], drawn, ends, lambda tokens: tokens)
    assert list(shown.images) == ["earlier visit", "forecast, 4.0 y, w 1.5", "forecast, 4.0 y, w 3"]
    assert len(tabulate([shown])) == 4
    assert tabulate([shown])["error"].isna().all()
    sizes = []
    for people in ([shown, shown], [shown], []):
        write_figures(people, tmp_path)
        sizes.append([matplotlib.image.imread(tmp_path / f"figure_{n}.png").shape[:2] for n in (4, 7)])
    assert check_table(tabulate([]), CHANGES, "changes").empty
    assert sizes[0][0][0] > sizes[1][0][0] > sizes[2][0][0]
    assert sizes[0][1][0] > sizes[1][1][0] > sizes[2][1][0]
