"""What each task reads, written out anew: raw value -> class, a line for each value that a table may hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braing3n.config import ProbeSettings
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import PAPER_TASKS, list_tasks

SLICES = {"all", "T1", "T2", "FLAIR", "T1c", "patient-pooled"}
NO_T1C = SLICES - {"T1c"}
T1_ONLY = {"all", "T1", "patient-pooled"}
DISEASES = ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "GBM", "Glioma")
# The paper gives their number of classes and not which: "class maps" in the list of its settings.
CHOSEN = {"site", "field_strength", "handedness", "ethnicity", "apoe_genotype", "race", "vendor", "grade"}
# key -> column, slices, raw value -> class ("" where a value is left out)
CLASSES = {
    "disease": (
        "dx",
        SLICES,
        {d: d for d in ["HC", "MCI", "AD", "PD", "ASD", "SCZ", "GBM", "Glioma"]} | {"ADHD": ""},
    ),
    "sex": ("sex", SLICES, {"F": "F", "m": "M", "": ""}),
    "modality": ("modality", {"all", "patient-pooled"}, {"T1": "T1", "FLAIR": "FLAIR"}),
    "site": ("site", SLICES, {"ixi/Guys": "ixi/Guys", "": ""}),
    "field_strength": (
        "field_strength_t",
        T1_ONLY,
        {1.5: "1.5 T", 1.49: "1.5 T", 3.0: "3 T", 2.89: "3 T", 7.0: "", 1.0: "", np.nan: ""},
    ),
    "handedness": (
        "handedness",
        NO_T1C,
        {"R": "right", "Right": "right", "L": "left", "A": ""},
    ),
    "ethnicity": (
        "ethnicity",
        NO_T1C,
        {
            "Hispanic": "Hispanic",
            "Hispanic or Latino": "Hispanic",
            "Hisp/Latino": "Hispanic",
            "Not Hisp/Latino": "not Hispanic",
            "not hispanic": "not Hispanic",
            "Not Hispanic or Latino": "not Hispanic",
            "Unknown": "",
        },
    ),
    "apoe_e4": (
        "apoe",
        NO_T1C,
        dict.fromkeys(["E2/E4", "E3/E4", "E4/E4"], "carrier")
        | dict.fromkeys(["E2/E2", "E2/E3", "E3/E3"], "non-carrier"),
    ),
    "apoe_genotype": (
        "apoe",
        NO_T1C,
        {"E3/E3": "E3/E3", "E3/E4": "E3/E4", "E4/E4": "E4/E4", "E2/E3": "", "E2/E4": ""},
    ),
    "race": ("race", NO_T1C, {"White": "White", "Asian": "other", "Black": "other", "": ""}),
    "vendor": (
        "vendor",
        T1_ONLY,
        {
            "Siemens": "Siemens",
            "SIEMENS": "Siemens",
            "Siemens Healthineers": "Siemens",
            "GE": "other",
            "": "",
        },
    ),
    "idh1": ("idh1", SLICES, {"wildtype": "wildtype", "mutant": "mutant", "": ""}),
    "mgmt": (
        "mgmt",
        SLICES,
        {"methylated": "methylated", "unmethylated": "unmethylated", "indeterminate": ""},
    ),
    "grade": ("grade", SLICES, {2.0: "2", "3": "3", 4: "4", 1.0: ""}),
    "cdr_stage": ("cdr", T1_ONLY, {0.0: "0", 0.5: "0.5", 1.0: "1", 2.0: "2", 3.0: "3", np.nan: ""}),
}
NUMBERS = {
    "age": ("age_years", SLICES),
    "mmse": ("mmse", SLICES),
    "cdr": ("cdr", T1_ONLY),
    "moca": ("moca", SLICES),
    "education": ("education_years", SLICES),
    "gds": ("gds", SLICES),
    "updrs3": ("updrs3", SLICES),
    "scopa": ("scopa", SLICES),
}


def label(column, values):
    """A label table that has one person for each value."""
    people = [f"p{i}" for i in range(len(values))]
    return pd.DataFrame({"person_id": people, column: pd.Series(values, dtype=object)})


def print_task(task):
    """The line of a task in docs/tasks.md."""
    classes = [
        (name, sorted({value for key, raw in task.classes if key == name for value in raw}))
        for name in dict.fromkeys(key for key, _ in task.classes)
    ]
    shown = [name if values == [name] else f"{name} ({', '.join(values)})" for name, values in classes]
    shown += ["every other value"] if task.other else []
    shown += [f"the {task.n_top} with most people"] if task.n_top else []
    shown = ["a number"] if task.kind == "regression" else shown or ["every value"]
    metric = "AUC" if task.kind == "classification" else "R2, MAE"
    slices = "all" if set(task.slices) == SLICES else ", ".join(task.slices)
    slices = "all six" if slices == "all" else slices
    cells = [f"`{task.key}`", task.title.split(" (")[0], f"`{task.column}`", "; ".join(shown), slices]
    return f"| {' | '.join([*cells, metric, task.provenance])} |"


def test_the_page_of_tasks_is_what_the_code_reads():
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert lines == [print_task(task) for task in PAPER_TASKS]


def test_the_papers_tasks_are_these():
    assert {task.key for task in PAPER_TASKS} == {*CLASSES, *NUMBERS}
    for task in PAPER_TASKS:
        column, slices, *_ = (CLASSES | NUMBERS)[task.key]
        assert (task.column, set(task.slices), task.source) == (column, slices, "paper"), task.key
        assert task.kind == ("classification" if task.key in CLASSES else "regression"), task.key
        chosen = task.key in CHOSEN
        assert task.provenance in (["chosen"] if chosen else ["given", "derived"]), task.key


@pytest.mark.parametrize("key", CLASSES)
def test_a_raw_value_is_of_this_class(key):
    (task,) = (task for task in PAPER_TASKS if task.key == key)
    column, _, wanted = CLASSES[key]
    assert list(task.read_target(label(column, list(wanted)))) == list(wanted.values())


@pytest.mark.parametrize("key", NUMBERS)
def test_a_raw_number_is_that_number(key):
    (task,) = (task for task in PAPER_TASKS if task.key == key)
    found = task.read_target(label(NUMBERS[key][0], [1.5, "20", "", "unknown"]))
    np.testing.assert_array_equal(found, [1.5, 20, np.nan, np.nan])


def test_the_sites_with_most_people_are_kept_whatever_their_volumes():
    """Of 21 sites, 0 to 20 people more each, the two smallest are left out; the smallest has most volumes."""
    people = [(f"s{k:02d}", f"s{k:02d}p{i}") for k in range(21) for i in range(k + 1)]
    people += [("s00", "s00p0")] * 40
    labels = pd.DataFrame(people, columns=["site", "person_id"])
    (task,) = (task for task in PAPER_TASKS if task.key == "site")
    assert set(task.read_target(labels)) == {"", *(f"s{k:02d}" for k in range(2, 21))}


def test_the_other_tasks_are_pairs_own_columns_and_planted_controls():
    labels = pd.DataFrame({"control_decoy": ["case", "control"], "control_head_size": [1.0, 2.0]})
    others = {
        task.key: (task.title, task.column, task.kind, task.slices, task.source)
        for task in list_tasks(labels, {"IQ": "regression", "group": "classification"})[23:]
    }
    own = {name: values for name, values in others.items() if values[-1] == "own"}
    assert [values[0] for values in own.values()] == ["IQ", "group (own column, AUC)"]
    assert [values[2] for values in own.values()] == ["regression", "classification"]
    assert others["control_decoy"][0:4] == ("Control: decoy", "control_decoy", "classification", ("all",))
    assert others["control_head_size"][0:4] == (
        "Control: head size",
        "control_head_size",
        "regression",
        ("all",),
    )
    pairs = {name: values for name, values in others.items() if values[-1] == "pair"}
    assert set(pairs) == {
        *("hc_vs_mci", "hc_vs_ad", "hc_vs_pd", "hc_vs_asd", "hc_vs_scz", "hc_vs_gbm", "hc_vs_glioma"),
        *("hc_vs_adhd", "mci_vs_ad"),
    }
    assert {name for name, values in pairs.items() if values[3] == ("all", "T1c")} == {
        "hc_vs_gbm",
        "hc_vs_glioma",
    }


def test_a_fold_without_a_class_is_named_and_one_with_a_single_person_is_not():
    n = 40
    labels = pd.DataFrame(
        {"volume_id": [f"v{i}" for i in range(n)], "person_id": [f"p{i}" for i in range(n)]}
    )
    labels = labels.assign(group_id=labels["person_id"], modality="T1", split="train", dx="HC", sex="F")
    labels.loc[:4, "sex"] = "M"  # five people in five folds
    (task,) = (task for task in PAPER_TASKS if task.key == "sex")
    probe = plan_probe(task, "all", labels, ProbeSettings())
    counts = probe.units[probe.units["target"] == "M"].groupby("fold").size()
    missing = {f"fold {fold} has no M" for fold in range(5) if counts.get(fold, 0) == 0}
    assert set(filter(None, probe.note.split("; "))) == missing
