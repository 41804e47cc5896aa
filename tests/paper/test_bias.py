"""The bias card counts people within a diagnosis, and says which diagnosis hangs on one place."""

from braing3n.paper.card.bias import build_bias, build_bias_sites, build_places, describe_places
from braing3n.paper.results import Results


def person(cohort, name, dx, **known):
    return {"cohort": cohort, "person_id": name, "dx": dx, **known}


def test_people_are_counted_once_within_their_diagnosis(results):
    counts = build_bias(results).frame.set_index(["Trait", "Value"])
    assert counts.loc[("sex", "F"), "HC"] == "2 (67%)"
    assert counts.loc[("sex", "M"), "AD"] == "1 (100%)", "two visits, one person"
    assert counts.loc[("age band", "60 to 74"), "AD"] == "1 (100%)"
    assert counts.loc[("age band", "unknown"), "HC"] == "1 (33%)"
    assert counts.loc[("age band", "under 18"), "unknown"] == "1 (100%)"
    assert counts.loc[("scanner", ["GE", "Philips"]), "HC"].tolist() == ["1 (33%)", "2 (67%)"]
    assert counts.loc[("sex", "F"), "MCI"].startswith("n/a: nobody of this run has the diagnosis (N = 0)")


def test_a_sex_known_at_one_visit_is_known_of_the_person(make_results):
    people = [person("adni", "p", "AD", session_id="1"), person("adni", "p", "AD", session_id="2", sex="F")]
    counts = build_bias(make_results(people)).frame.set_index(["Trait", "Value"])
    assert counts.loc[("sex", "F"), "AD"] == "1 (100%)"
    assert ("sex", "unknown") not in counts.index


def test_what_one_visit_tells_is_not_unknown_for_what_another_does_not(make_results):
    people = [
        person("adni", "p", "AD", session_id="1", site="901"),
        person("adni", "p", "AD", session_id="2"),
        person("adni", "p", "", session_id="3"),
    ]
    counts = build_bias_sites(make_results(people)).frame.set_index("Site")
    assert counts["AD"].to_dict() == {"901": "1 (100%)"}
    assert "unknown" not in counts.columns, "the diagnosis is known at two visits"


def test_what_is_known_of_nobody_is_said_with_n(results):
    table = build_bias(results)
    assert "race: n/a, known of nobody (N = 0 of 5 people)." in table.notes
    assert not [note for note in table.notes if note.startswith("sex:")]
    counts = table.frame.set_index(["Trait", "Value"])
    assert counts.loc[("race", "unknown"), "HC"] == "3 (100%)"


def test_a_person_scanned_at_two_sites_counts_at_both(make_results):
    people = [person("ixi", "p", "HC", site=site, session_id=site) for site in ("Guys", "HH")]
    counts = build_bias_sites(make_results(people)).frame.set_index("Site")
    assert counts.loc[["Guys", "HH"], "HC"].tolist() == ["1 (100%)"] * 2


def test_a_diagnosis_of_one_site_is_named_with_who_else_is_there(results):
    (sentence,) = [text for text in describe_places(results.read("labels")) if text.startswith("AD ")]
    assert sentence == (
        "AD (N = 1) comes from one cohort (adni), one site (901), one scanner (GE) alone: "
        "only others of that site (HC 1) can tell the diagnosis from the place."
    )
    assert not [text for text in describe_places(results.read("labels")) if text.startswith("HC ")]


def test_a_diagnosis_whose_site_nobody_shares_cannot_be_separated(make_results):
    people = [
        person("hbn", "p1", "Paediatric", site="RU"),
        person("hbn", "p2", "Paediatric"),
        person("ixi", "p3", "HC", site="Guys"),
        person("ixi", "p4", "HC", site="HH"),
    ]
    results = make_results(people)
    assert (
        "Paediatric (N = 2) comes from one cohort (hbn), one site (RU, not known of 1) alone: "
        "nobody of another diagnosis comes from there, so that it cannot be distinguished from it."
    ) in describe_places(results.read("labels"))
    places = build_places(results).frame.set_index("Diagnosis")
    assert places.loc["Paediatric", ["People", "Site | number", "Site | largest"]].tolist() == [
        "2",
        "1",
        "RU (100% of 1)",
    ]
    assert places.loc["HC", ["Cohort | number", "Site | number"]].tolist() == ["1", "2"]
    assert places.loc["HC", "Vendor | number"] == "n/a: no vendor is known (N = 0)"
    assert places.loc["AD", "People"].startswith("n/a: nobody of this run")


def test_a_diagnosis_at_several_sites_is_not_named(make_results):
    people = [
        person("ixi", f"p{n}", dx, site=site)
        for n, (dx, site) in enumerate([("HC", "A"), ("HC", "B"), ("AD", "A"), ("AD", "B")])
    ]
    assert not [
        text
        for text in describe_places(make_results(people).read("labels"))
        if text.startswith(("HC ", "AD "))
    ]


def test_a_diagnosis_nearly_of_one_site_is_named_with_its_share(make_results):
    people = [person("ixi", f"p{n}", "SCZ", site="A" if n else "B") for n in range(10)]
    people += [person("ixi", f"q{n}", "HC", site=site) for n, site in enumerate("AABB")]
    (sentence,) = [text for text in describe_places(make_results(people).read("labels")) if "SCZ" in text]
    assert sentence == (
        "SCZ (N = 10) comes from one site (A, 90%) alone, or nearly so: "
        "only others of that site (HC 2) can tell the diagnosis from the place."
    )
    people[1]["site"] = "B"
    assert not [text for text in describe_places(make_results(people).read("labels")) if "SCZ" in text]


def test_a_run_of_one_cohort_says_that_it_speaks_for_that_cohort_alone(make_results):
    people = [person("ixi", "p1", "HC", site="A"), person("ixi", "p2", "HC", site="B")]
    sentences = describe_places(make_results(people).read("labels"))
    assert sentences[0] == (
        "Everybody (N = 2 of 2 people) comes from one cohort (ixi): "
        "whether anything holds elsewhere, this run cannot tell."
    )
    assert "No vendor is known (N = 0 of 2 people)." in sentences
    assert not [text for text in sentences if text.startswith("HC ")]


def test_without_labels_each_table_says_so(tmp_path):
    for build in (build_bias, build_bias_sites, build_places):
        assert build(Results(tmp_path)).frame.iloc[0, 0] == "n/a: this run has no manifest/labels.parquet"
