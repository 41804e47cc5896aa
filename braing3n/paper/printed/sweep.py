"""Table 5: the sweep over d and the baseline tokenizers, reconstructions and probes beside the paper's."""

from __future__ import annotations

import pandas as pd

from braing3n.core.contracts import SPLITS
from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_number
from braing3n.paper.published import read_published
from braing3n.paper.results import METRICS_PATH, Results, explain_missing, locate

# Title, key in the metrics, digits.
_METRICS = (("MSE", "mse", 3), ("PSNR (dB)", "psnr_db", 2), ("SSIM", "ssim", 3))
# Tasks that the paper probes: key, title, key in its row.
_TASKS = (("idh1", "IDH1 AUC", "idh1_auc"), ("grade", "Grade AUC", "grade_auc"))
READINGS, UNTRAINED = ("mean", "flattened"), "untrained"  # as `braing3n.sweep.probe` writes them
_NO_SWEEP = "n/a: this run has no sweep (no cohort of sweep.cohorts)"
_NO_ARM = "n/a: not an arm of this run's sweep"
_NOT_PUBLISHED = "n/a: not in the paper"
_NOT_ON_RECORD = "n/a: its encoder's weights do not say how long they were trained"
# The paper trains its one baseline, the AutoencoderKL, at matched compute; what is ours stands below it.
_AKL, _OUR_AKL = "akl-compute", "akl-epochs"
# How a baseline's arm ends -> what its title adds.
_BUDGETS = {"compute": "", "epochs": " (matched epochs)"}


def build_table_5(results: Results) -> PrintedTable:
    """Every arm of the sweep, the untrained encoder, and this run's own tokenizer."""
    published = {_name_arm(row["d"]): row for row in read_published()["table_5"]}
    scores = results.read("sweep")
    tasks = _list_tasks(scores)
    ours = [] if scores is None else [arm for arm in scores["arm"].unique() if arm != UNTRAINED]
    baselines = [arm for arm in ours if arm.rpartition("-")[2] in _BUDGETS]
    rows, listed = [], list(dict.fromkeys([_AKL, _OUR_AKL, *baselines, *published, *ours]))
    for arm in listed:
        paper, path = published.get(arm), f"sweep/{arm}/metrics.json"
        title = paper["model"] if paper else _name_row(arm)
        fault = _find_fault(results, arm)
        metrics = None if fault else results.read_metrics(path)
        row = {"Model": title} | _show_metrics(metrics, fault or explain_missing(path), paper)
        rows.append(row | _show_scores(results, arm, tasks, paper))
    row = {"Model": "Untrained encoder"} | _show_metrics(None, "n/a: has no decoder", None)
    row |= _show_training(None, "n/a: is never trained")
    rows.append(row | _show_scores(results, UNTRAINED, tasks, None))
    rows.append(_show_own(results.read_metrics(), tasks))
    title = "Table 5. Bottleneck sweep and baseline tokenizers"
    source = METRICS_PATH if scores is None else locate("sweep")
    return PrintedTable("table_5", title, pd.DataFrame(rows), source, _write_notes(results))


def _name_arm(d: str) -> str:
    return _AKL if d == "akl" else f"d-{d}"


def _name_row(arm: str) -> str:
    """The title of an arm that is not in the paper: `VQ (matched epochs)`, `MAE (d = 8)`."""
    name, _, end = arm.rpartition("-")
    return name.upper() + _BUDGETS[end] if end in _BUDGETS else f"MAE (d = {end})"


def _find_fault(results: Results, arm: str) -> str:
    """Why this run cannot have numbers of an arm, as a cell; empty where it can."""
    if results.read("sweep_list") is None:
        return _NO_SWEEP
    scores = results.read("sweep")
    return "" if scores is None or (scores["arm"] == arm).any() else _NO_ARM


def _list_tasks(scores: pd.DataFrame | None) -> list[tuple[str, str, str]]:
    """The paper's two tasks, and what else this run's sweep probed."""
    known = {key for key, *_ in _TASKS}
    if scores is None:
        return [*_TASKS]
    extra = scores[~scores["task"].isin(known)].drop_duplicates("task")
    return [*_TASKS, *((row.task, row.title, "") for row in extra.itertuples())]


def _show_metrics(metrics: dict | None, absent: str, paper: dict | None) -> dict[str, str]:
    """What it was trained for, dims and three metrics: over the crop beside the paper's, and in the brain."""
    cells = _show_training(metrics, absent)
    dims = absent if metrics is None else f"{metrics['n_numbers_a_volume']:,}"
    cells |= _pair("Dims", {"ours": dims}, paper, "dims")
    for title, key, digits in _METRICS:
        ours = {
            name: absent if metrics is None else format_number(metrics[region][key], digits)
            for name, region in (("ours, crop", "crop"), ("ours, in the brain", "brain"))
        }
        cells |= _pair(title, ours, paper, key)
    return cells


def _show_training(metrics: dict | None, absent: str) -> dict[str, str]:
    """Epochs, and 1e12 floating-point operations a training volume, of which the paper states neither."""
    epochs = operations = absent
    if metrics is not None:
        training = metrics.get("training")
        epochs = training["epochs"] if training else _NOT_ON_RECORD
        operations = f"{training['flops_a_volume'] / 1e12:.4g}" if training else _NOT_ON_RECORD
    return {f"Training{LEVELS}epochs": epochs, f"Training{LEVELS}1e12 operations a volume": operations}


def _show_scores(results: Results, arm: str, tasks: list, paper: dict | None) -> dict[str, str]:
    """Both readings of each task beside the paper's."""
    cells: dict[str, str] = {}
    for task, title, key in tasks:
        ours = {f"ours, {reading}": _read_score(results, arm, reading, task) for reading in READINGS}
        cells |= _pair(title, ours, paper if key else None, key)
    return cells


def _read_score(results: Results, arm: str, reading: str, task: str) -> str:
    """Mean and standard deviation over folds, of the task's first metric."""
    scores, fault = results.read("sweep"), _find_fault(results, arm)
    if fault or scores is None:
        return fault or explain_missing("sweep")
    if arm == UNTRAINED and reading != "mean":
        return "n/a: its mean alone is read"
    found = scores[(scores["arm"] == arm) & (scores["reading"] == reading) & (scores["task"] == task)]
    if not len(found):
        return "n/a: not a task of this run's sweep"
    row = found.iloc[0]
    if row["reason"]:
        return f"n/a: {row['reason']}"
    return f"{format_number(row['fold_mean'])} ± {format_number(row['fold_sd'])}"


def _show_own(metrics: dict | None, tasks: list) -> dict[str, str]:
    """The row of the tokenizer that the rest of the paper uses, trained on all cohorts."""
    d = "" if metrics is None else f"d = {metrics['d']}, "
    row = {"Model": f"This run's tokenizer ({d}all cohorts)"}
    row |= _show_metrics(metrics, explain_missing(METRICS_PATH), None)
    absent = "n/a: no arm of the sweep; its encoder's probes are Table 6"
    described = {f"ours, {reading}": absent for reading in READINGS}
    for _, title, key in tasks:
        row |= _pair(title, described, None, key)
    return row


def _pair(title: str, ours: dict[str, str], paper: dict | None, key: str) -> dict[str, str]:
    """Cells of ours under one title, and the paper's."""
    cells = {f"{title}{LEVELS}{name}": value for name, value in ours.items()}
    return cells | {f"{title}{LEVELS}paper": paper[key] if paper else _NOT_PUBLISHED}


def _write_notes(results: Results) -> list[str]:
    """Who was trained and measured on, what each cell is, and which choices are ours."""
    chosen, scores, own = results.read("sweep_list"), results.read("sweep"), results.read_metrics()
    notes = ["The paper: 1100 volumes of UCSF-PDGM and UPENN-GBM, held-out 20 %; it does not say which."]
    if chosen is not None:
        n_people = chosen.groupby("split")["person_id"].nunique()
        notes.append(
            f"The sweep: one {chosen['modality'].iloc[0]} (chosen) of each person of "
            f"{', '.join(sorted(set(chosen['cohort'])))}; people: "
            f"{', '.join(f'{split} {n_people[split]}' for split in SPLITS if split in n_people)}. "
            "Encoder, decoders and baselines are trained from scratch on its training people; the validation "
            "people (chosen) stop a training early."
        )
    notes.append(
        "Training: epochs of MAE + tokenizer, or of a baseline, as trained; floating-point operations a "
        "training volume in them (forward and backward, validation left out). A baseline has the operations "
        "of MAE and tokenizer (d = that of this run's tokenizer), as in the paper, or, ours, their epochs."
    )
    notes.append(
        "MSE, PSNR (of the mean MSE) and SSIM of z-scored voxels of the test people, over the crop and "
        "in the brain, for a range of 14.7 z units."
    )
    if scores is not None:
        done = scores[scores["reason"] == ""].drop_duplicates("task")
        people = "".join(f" {row.title}: {row.n_people} people." for row in done.itertuples())
        notes.append(
            "AUC: mean ± standard deviation over folds of people, everyone in the sweep, the same folds for "
            "all. Mean: over tokens, or over a baseline's grid; flattened: all numbers, by a PCA fitted in "
            f"the fold (both readings chosen).{people}"
        )
    if own is not None:
        notes.append(f"This run's tokenizer: {own['n_volumes']} volumes of the {own['split']} split.")
    return notes
