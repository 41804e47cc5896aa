"""The card's page needs nothing beside it, has warnings first, and folds what is long."""

from html import unescape

from braing3n.paper.card.card_page import SECTIONS, build_tables, list_cautions, render_card
from braing3n.paper.card.figures import FIGURES, draw_figures
from braing3n.paper.page import render_page


def render(results, out_dir):
    return render_card(results, build_tables(results), draw_figures(results, out_dir))


def test_the_page_holds_every_table_and_picture(results, tmp_path):
    page, tables = render(results, tmp_path), build_tables(results)
    assert len(tables) == sum(callable(item) for items in SECTIONS.values() for item in items)
    for name in tables:
        assert f'id="{name}"' in page
        assert f"href='{name}.csv'" in page
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "src='http" not in page
    assert "href='index.html'" in page


def test_warnings_come_first_each_in_its_own_sentence(make_results, tmp_path):
    people = [
        {"cohort": "ixi", "person_id": "p", "dx": "HC"},
        {"cohort": "adni", "person_id": "q", "dx": "AD"},
    ]
    expected = {"ixi": {"kind": "ixi", "reason": "", "volumes": 100, "people": 100}}
    results = make_results(people, expected=expected)
    cautions = list_cautions(results)
    assert cautions[0] == (
        "ixi: 1 of 100 expected volumes (-99 %) and 1 of 100 expected people (-99 %), "
        "beyond the tolerance of 5 %."
    )
    assert [text for text in cautions if text.startswith("AD (N = 1) comes from one cohort (adni) alone")]
    page = render(results, tmp_path)
    assert page.index(cautions[0]) < page.index("<h2>")
    assert cautions[0] in render_page(results, {})
    assert cautions[-1] not in render_page(results, {}), "the page of the run has the counts alone"


def test_a_long_table_is_folded_and_a_short_one_is_not(make_results, tmp_path):
    people = [{"cohort": "adni", "person_id": f"p{n}", "site": f"{n:03d}"} for n in range(61)]
    page = render(make_results(people), tmp_path)
    assert "<details><summary>Every site (61 rows)</summary>" in page
    assert page.count("<details>") == 2, "every site, and sites within each diagnosis"


def test_an_empty_run_is_a_page_too(tmp_path):
    from braing3n.paper.results import Results

    page = render(Results(tmp_path), tmp_path / "paper")
    assert "this run has no manifest/labels.parquet" in page
    assert "class='warning'" not in page


def test_the_page_links_to_the_configured_cohorts_only(make_results):
    expected = {"ixi": {"kind": "ixi", "reason": "none is expected"}}
    results = make_results([{"cohort": "ixi", "person_id": "p"}], expected=expected)
    for cohort in ("ixi", "removed"):
        page = results.results_dir / "preprocess" / cohort / "quality.html"
        page.parent.mkdir(parents=True)
        page.write_text("")
    page = render_page(results, {})
    assert "../preprocess/ixi/quality.html" in page
    assert "removed" not in page


def test_weights_of_withdrawn_people_are_a_warning_on_both_pages(make_results, tmp_path, monkeypatch):
    results = make_results(
        [{"cohort": "ixi", "person_id": "p"}], expected={"ixi": {"kind": "ixi", "reason": "none"}}
    )
    monkeypatch.setattr("braing3n.paper.page.describe_weights", lambda folder, cohorts: ["mae saw <one>"])
    warning = "<div class='warning'>mae saw &lt;one&gt;</div>"
    assert warning in render_page(results, {})
    assert warning in render(results, tmp_path)


def test_a_page_names_commit_settings_and_only_files_that_exist(make_results, monkeypatch):
    results = make_results([{"cohort": "ixi", "person_id": "p"}])
    assert results.command("x.parquet").endswith("--configfile FILE"), "no config/tiny.yaml is there"
    folder = results.results_dir / "inventory"
    folder.mkdir()
    (folder / "settings.json").write_text('{"probe": {"ridge_alpha": 7}}')
    monkeypatch.setattr("braing3n.paper.page.read_commit", lambda checkout: "0123abc")
    page = render_page(results, {})
    assert "commit <code>0123abc</code>" in page
    assert '"ridge_alpha": 7' in unescape(page)
