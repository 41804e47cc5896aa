"""Pages: what comes from outside is no markup, a missing value is an error, nothing lies beside a page."""

import base64
import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from braing3n.manifest.quality.measures import Measure
from braing3n.manifest.quality.page import Card, Number
from braing3n.site.pages import FOLDER, embed_picture, render, stream

HOSTILE = "</script><img src=x onerror='a()'> \"b\" & {{ 7 * 7 }} {% endblock %}"


def make_card(name):
    number = Number("noise", name, name, name, name, is_outlying=True)
    steps = [(name, False), (name, True)]
    return Card(name, name, name, [number], "1400", [name], name, steps, True, "keep", name)


def fill_quality(text):
    return {
        "cohort": text,
        **dict.fromkeys(("n_scans", "n_kept", "n_outlying", "min_compared"), 1),
        "outlying": "3.5",
        "lost": [(text, text)],
        "dropped": [(text, text)],
        "measures": {"noise": Measure(text, text, True, 0.1, 3)},
        "groups": [{"modality": text, "n_volumes": 1234, "n_outlying": 1, "medians": [text]}],
        "cards": [make_card(text)],
        "review": {"cohort": text, "rows": [[text, "keep", text]]},
    }


def fill_run(text):
    run = {"name": text, "volume_list": text, "n_volumes": 1, "n_people": 1, "n_cohorts": 1, "splits": text}
    table = {"name": "t", "title": text, "html": "<table></table>", "n_rows": 1, "is_long": True}
    return {"run": run, "warnings": [text]}, table | {"command": text}


def fill_report(text):
    values, table = fill_run(text)
    stage = {"name": text, "n_excluded": 1, "n_kept": 1}
    return values | {
        "flow": {"path": text, "n_found": 2, "stages": [stage], "reasons": {text: 1}, "is_long": True},
        "quality_pages": [text, text],
        "sections": {text: [table]},
        "figures": [
            {"caption": text, "path": text, "picture": picture, "command": text} for picture in (text, "")
        ],
        "origin": {"version": text, "commit": text, "settings": text},
    }


def fill_card(text):
    values, table = fill_run(text)
    picture = {"figure": text, "caption": text, "picture": text}
    return values | {"sections": {text: [{"table": table}, picture]}}


def fill_table(text):
    return {"title": text, "table": "<table></table>"}


PAGES = {
    "quality.html": fill_quality,
    "report.html": fill_report,
    "card.html": fill_card,
    "table.html": fill_table,
}


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and the texts by tag."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *(name for name, _ in attributes)))

    def handle_data(self, text):
        self.texts.setdefault(self.tags[-1][0] if self.tags else "", []).append(text)


def test_every_template_of_a_page_is_tested_here():
    assert set(PAGES) == {path.name for path in FOLDER.glob("*.html")} - {"base.html", "parts.html"}


@pytest.mark.parametrize("name", PAGES)
def test_what_comes_from_outside_is_neither_markup_nor_template(name):
    page, plain = (render(name, **PAGES[name](text)) for text in (HOSTILE, "plain"))
    assert Tags(page).tags == Tags(plain).tags
    assert HOSTILE in "".join(Tags(page).texts["title"])
    assert "plain" in "".join(Tags(plain).texts["title"])


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, fill in PAGES.items() for value in fill("")]
)
def test_a_value_that_is_not_given_is_an_error(name, value):
    values = PAGES[name]("plain")
    del values[value]
    missing = pytest.raises((UndefinedError, TypeError), match=f"'{value}' is undefined|StrictUndefined")
    with missing:
        render(name, **values)
    with missing:
        list(stream(name, **values))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_equal_however_it_is_made(name):
    page = render(name, **PAGES[name]("plain"))
    assert page.startswith("<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>")
    assert page.endswith("</body>\n</html>\n")
    assert page == "".join(stream(name, **PAGES[name]("plain")))
    assert ("<style>" in page, "<h1>" in page) == ((name != "table.html"),) * 2


def test_no_module_holds_html():
    modules = {
        path.relative_to(FOLDER.parent).as_posix(): path.read_text() for path in FOLDER.parent.rglob("*.py")
    }
    assert [name for name, text in modules.items() if re.search(r"</\w+>|<!doctype", text)] == []


def test_style_and_scripts_lie_inside_as_they_are():
    page = render("quality.html", **fill_quality("plain"))
    for name in ("style.css", "quality.js"):
        assert (FOLDER / name).read_text() in page


@pytest.mark.parametrize("path", FOLDER.glob("*.[hcj]*"), ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path):
    assert not re.search(r"https?:|['\"]//|<link|<script[^>]*src|@import|url\(|fetch\(", path.read_text())


def test_of_many_rows_one_is_held_at_a_time():
    taken = []

    def make_cards():
        for n in range(100):
            taken.append(n)
            yield make_card(f"v{n}")

    pieces = stream("quality.html", **fill_quality("plain") | {"cards": make_cards()})
    next(piece for piece in pieces if "id='v7'" in piece)
    assert taken == list(range(8))


def test_a_picture_is_an_address_that_holds_its_bytes(tmp_path):
    for name, kind in (("a.jpg", "image/jpeg"), ("b.png", "image/png")):
        (tmp_path / name).write_bytes(b"\x00\xff picture")
        head, _, data = embed_picture(tmp_path / name).partition(",")
        assert head == f"data:{kind};base64"
        assert base64.b64decode(data) == b"\x00\xff picture"
