"""The card's pictures are small, the same again, and say why where there is nothing to draw."""

import pytest
from PIL import Image

from braing3n.paper.card.figures import FIGURES, draw_figures
from braing3n.paper.results import Results

MAX_BYTES = 300_000


def read_texts(figure):
    """All words that stand in a figure."""
    words = [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]
    labels = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
    return words + labels + [text.get_text() for text in figure.texts]


def test_the_pictures_are_small_and_the_same_again(results, tmp_path):
    first, again = (draw_figures(results, tmp_path / name) for name in ("a", "b"))
    assert set(first) == set(FIGURES)
    for name, path in first.items():
        assert path.stat().st_size < MAX_BYTES
        assert path.read_bytes() == again[name].read_bytes()
        assert len(Image.open(path).convert("RGB").getcolors(10**6)) > 2, "something is drawn"


def test_bars_tell_volumes_and_people(results):
    assert "3 (2 people)" in [text.strip() for text in read_texts(FIGURES["card_volumes"](results))]


def test_the_flow_ends_in_what_was_kept_of_what_was_found(results):
    texts = [text.strip() for text in read_texts(FIGURES["card_flow"](results))]
    assert "3 of 6" in texts
    assert "3 of 5" in texts


def test_pyramids_count_people_and_those_not_shown(results):
    titles = read_texts(FIGURES["card_pyramids"](results))
    assert "HC (N = 3, 1 not shown)" in titles
    assert "AD (N = 1)" in titles
    assert "unknown (N = 1, 1 not shown)" in titles


def test_a_cohort_without_ages_keeps_its_row(results, make_results):
    assert "1 of 2 people" in read_texts(FIGURES["card_ages"](results))
    people = [{"cohort": "ixi", "person_id": "p"}, {"cohort": "adni", "person_id": "q", "age_years": 70.0}]
    assert "n/a (0 of 1 people)" in read_texts(FIGURES["card_ages"](make_results(people)))


def test_without_ages_and_sex_a_sentence_stands_in_place(make_results):
    results = make_results([{"cohort": "ixi", "person_id": "p"}])
    assert read_texts(FIGURES["card_ages"](results)) == ["n/a: no age is known (N = 0 of 1 people)"]
    (sentence,) = read_texts(FIGURES["card_pyramids"](results))
    assert sentence == "n/a: both sex and age are known of nobody (N = 0 of 1 people)"


@pytest.mark.parametrize("name", FIGURES)
def test_without_results_each_picture_says_so(tmp_path, name):
    (sentence,) = read_texts(FIGURES[name](Results(tmp_path)))
    assert sentence.startswith("n/a: this run has no manifest/")
