"""Tables hold what the run measured; what it did not is `n/a` with the reason, in every format."""

import csv
import io
import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

from braing3n.core.errors import ConfigurationError
from braing3n.fidelity.arms import FID
from braing3n.fidelity.contracts import DISTANCES
from braing3n.fidelity.measure import QUANTITY
from braing3n.manifest.contracts import FLOW, LABELS
from braing3n.memorization.contracts import COPIES, MEMORIZATION
from braing3n.memorization.summary import summarise_audit
from braing3n.paper.card.card_page import build_tables
from braing3n.paper.card.figures import FIGURES
from braing3n.paper.command import app
from braing3n.paper.page import render_page
from braing3n.paper.printed.benchmark import build_controls, build_encoders, build_scores, build_table_6
from braing3n.paper.printed.fidelity import build_fidelity, build_table_8, build_variety
from braing3n.paper.printed.memorization import build_copies, build_memorization
from braing3n.paper.printed.pretraining import build_masked_loss
from braing3n.paper.printed.tables import PrintedTable, build_flow, build_table_3
from braing3n.paper.render import number_reasons, render_latex
from braing3n.paper.results import Results
from braing3n.pretrain.contracts import MASKED_LOSS
from braing3n.probe.contracts import CONTROLS, DIFFERENCES, SCORES
from braing3n.volumes.contracts import VOLUME_LIST

# Eight bytes of signature are enough: pictures are embedded, not decoded.
PNG = b"\x89PNG\r\n\x1a\n"


def fill(rows, contract):
    """Rows as a table with every column of the contract."""
    frame = pd.DataFrame(rows)
    for name, (kind, _) in contract.items():
        blank = {str: "", int: 0, float: np.nan, bool: False}[kind]
        frame[name] = frame[name].fillna(blank).astype(kind) if name in frame else blank
    return frame


COUNTS = {"n_people": 3, "n_volumes": 4}


def list_volumes():
    """Tables of who is in the run."""
    people = [("ixi", "p0", "T1"), ("ixi", "p0", "T2"), ("ixi", "p1", "T1"), ("made_up", "p2", "T1")]
    volumes = [
        {"cohort": cohort, "person_id": person, "group_id": person, "modality": modality, "split": "train"}
        | {"volume_id": f"v{k}", "dx": "HC" if k else "AD"}
        for k, (cohort, person, modality) in enumerate(people)
    ]
    flow = [("ixi", 5, 3, 2, ""), ("ixi", 0, 0, 2, "a | b_c is 4-D"), ("made_up", 1, 1, 0, "")]
    names = ["cohort", "received", "kept", "excluded", "reason"]
    return {
        "manifest/volume_list": fill(volumes, VOLUME_LIST),
        "manifest/labels": fill(volumes, LABELS),
        "manifest/flow": fill([dict(zip(names, row, strict=True)) for row in flow], FLOW),
    }


def list_scores():
    """Tables of the encoder's loss and the probes."""
    score = {"task": "sex", "title": "Sex (AUC)", "source": "paper", "metric": "auc", "slice": "all"} | COUNTS
    score["people"] = "everyone"
    numbers = {"value": 0.75, "low": 0.6, "high": 0.9, "fold_mean": 0.7512, "fold_sd": 0.04}
    scores = [{**score, **numbers, "encoder": name} for name in ("mae", "untrained")]
    scores.append({**score, "encoder": "mae", "slice": "FLAIR", "reason": "no FLAIR volumes in this run"})
    unseen = {**score, "encoder": "mae", "people": "unseen", "n_people": 2, "n_volumes": 2}
    scores.append({**unseen, **numbers, "value": 0.66, "fold_mean": 0.65})
    scores.append({**unseen, "slice": "T1", "reason": "only 2 people for 5 folds"})
    difference = {"encoder": "mae", "other": "untrained", "task": "sex", "slice": "all", "metric": "auc"}
    difference["people"] = "everyone"
    control = {"control": "random labels", "measure": "labels of 40 outside their interval", "value": 2.0}
    decoy = {"control": "control_decoy", "measure": "site-matched AUC", "note": "no site has both"}
    losses = {
        "mae": 0.15,
        "zero": 0.3,
        "mean_image": 0.189,
        "modality_mean_image": 0.103,
        "in_painting": 0.097,
    }
    masked = [{"predictor": name, "loss": loss, "n_volumes": 7} for name, loss in losses.items()]
    return {
        "pretrain/masked_loss": fill(masked, MASKED_LOSS),
        "probe/scores": fill(scores, SCORES),
        "probe/differences": fill([{**difference, "difference": 0.1, "low": 0.05, "high": 0.2}], DIFFERENCES),
        "probe/controls": fill([{**control, "verdict": "met"}, {**decoy, "verdict": "n/a"}], CONTROLS),
    }


def list_distances():
    """Tables of fidelity and memorization."""
    arm = {"arm": "Sex F (T1)", "comparison": "gen-vs-real", "value": 12.345, "floor": 6.789, **COUNTS}
    arm["reference"] = "corpus"
    arm |= {"floor_low": 5.5, "floor_high": 12.5, "n_samples": 8, "n_floor_people": 8, "n_others": 20}
    low = {**arm, "arm": "Sex M (T1)", "floor_reason": "9 unrelated people leave fewer than 4 beside 8"}
    high = {**arm, "arm": "Modality T2", "value": 12.6}
    arms = [{**row, "quantity": QUANTITY} for row in (arm, low, high)]
    fid = {**arm, "quantity": FID, "value": 99.0, "n_samples": 64}
    arms += [
        fid,
        {**fid, "comparison": "gen-vs-recons", "value": 20.0},
        {**fid, "comparison": "recons-vs-real"},
    ]
    arms.append({**arm, "quantity": FID, "arm": "Sex M (T1)", "value": np.nan, "reason": "no weights"})
    arms.append({**arm, "quantity": "MMD on MAE features", "value": 0.5, "floor_95": 0.25})
    arms.append({**arm, "quantity": "recall on MAE features", "value": 0.75, "floor": 0.9})
    item = {"pool": "all", "modality": "T1", "threshold": 2.0, "person_id": "p0", "group_id": "p0"}
    t1 = {**item, "pool": "T1", "comparison": "held-out-real"}
    audit = [
        {**item, "comparison": "real-real", "item_id": "v0", "distance": 4.0},
        {**item, "comparison": "synthetic-real", "item_id": "s0", "distance": 5.0},
        {
            **item,
            "comparison": "synthetic-real",
            "item_id": "s1",
            "distance": 1.0,
            "is_below_threshold": True,
        },
    ]
    audit += [{**row, "pool": "T1"} for row in audit] + [
        {**t1, "item_id": f"h{k}", "person_id": f"h{k}", "distance": 3.0} for k in range(50)
    ]
    audit = [{"is_below_threshold": False, **row} for row in audit]
    return {
        "fidelity/distances": fill(arms, DISTANCES),
        "memorization/distances": fill(audit, MEMORIZATION),
        "memorization/copies": fill(list_copies(), COPIES),
    }


def list_copies():
    """Rows of the copy detector: one of two samples, no held-out person and a reconstruction are flagged."""
    row = {"modality": "T1", "threshold": 0.5, "correlation": 0.2, "is_flagged": False, "is_mirrored": False}
    flagged = {**row, "correlation": 0.9, "is_flagged": True}
    held_out = [{**row, "comparison": "held-out-real", "person_id": f"h{k}"} for k in range(50)]
    return [
        {**row, "comparison": "real-real", "person_id": "p0"},
        *({**one, "comparison": "synthetic-real"} for one in (row, flagged)),
        {**flagged, "comparison": "reconstructed-real"},
        *held_out,
    ]


@pytest.fixture
def results_dir(tmp_path):
    """A run with two cohorts, a few scores, one arm, a tokenizer of d = 32 and two pictures."""
    root = tmp_path / "results" / "demo"
    tables = list_volumes() | list_scores() | list_distances()
    for name, frame in tables.items():
        path = root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
    crop = {"mse": 0.1234, "psnr_db": 33.333, "ssim": 0.9}
    metrics = {"split": "test", "n_volumes": 9, "d": 32, "n_numbers_a_volume": 4800, "psnr_range_z": 14.7}
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "metrics.json").write_text(json.dumps({**metrics, "crop": crop, "brain": crop}))
    (root / "tokenizer" / "reconstructions.png").write_bytes(PNG)
    return root


@pytest.fixture
def results(results_dir):
    return Results(results_dir)


def get_row(table, name):
    frame = table.frame
    return frame[frame.iloc[:, 0] == name].iloc[0]


def test_the_dataset_card_counts_people_and_volumes(results):
    table = build_table_3(results)
    ixi = get_row(table, "IXI")
    assert (ixi["Volumes | ours"], ixi["People | ours"], ixi["Volumes | paper"]) == ("3", "2", "1,159")
    assert ixi["Modalities | ours"] == "T1, T2"
    assert ixi["Diagnoses | ours"] == "HC 2, AD 1"
    assert get_row(table, "ADNI")["Volumes | ours"] == "n/a: cohort not in this run"
    assert get_row(table, "made_up")["Volumes | paper"] == "n/a: not a cohort of the paper"
    assert tuple(get_row(table, "Total")[["Volumes | ours", "People | ours"]]) == ("4", "3")


def test_the_flow_adds_up(results):
    whole = get_row(build_flow(results), "all")
    assert tuple(whole[["Received", "Kept", "Excluded"]]) == ("6", "4", "2")


def test_table_6_has_ours_the_papers_reasons_and_lost_cells(results):
    table = build_table_6(results)
    sex = get_row(table, "Sex (AUC)")
    assert (sex["all | ours"], sex["all | paper"]) == ("0.751 ± 0.040 (n 3/4)", "0.961")
    assert sex["all | ours, unseen people"] == "0.650 ± 0.040 (n 2/2)"
    assert sex["T1 | ours, unseen people"] == "n/a: only 2 people for 5 folds"
    assert sex["FLAIR | ours"] == "n/a: no FLAIR volumes in this run"
    assert get_row(table, "MMSE (R2)")["all | paper"] == "lost"
    assert get_row(table, "Modality (4-way, AUC)")["T1 | paper"] == "-"
    assert len(table.frame) == 23


def test_encoders_stand_side_by_side_with_their_difference(results):
    frame = build_encoders(results).frame
    row, unseen = frame.iloc[0], frame.iloc[1]
    assert (row["Whom"], unseen["Whom"]) == ("everyone", "unseen")
    assert (unseen["People / volumes"], unseen["Score | mae"][:5]) == ("2 / 2", "0.660")
    assert unseen["Score | untrained"] == "n/a: not probed"
    assert row["Score | untrained"] == "0.750 [0.600, 0.900]"
    assert row["Ours minus | untrained"] == "0.100 [0.050, 0.200]"
    assert list(build_scores(results).frame["Whom"]) == ["everyone", "everyone", "unseen"]


def test_an_encoder_without_weights_is_named_with_its_reason(results_dir):
    scores = Results(results_dir).read("scores")
    theirs = scores[scores["encoder"] == "mae"].assign(encoder="medicalnet", value=np.nan)
    theirs["reason"] = theirs["reason"].where(theirs["reason"] != "", "no weights; get some")
    assert not any("n/a" in note for note in build_encoders(Results(results_dir)).notes)
    pd.concat([scores, theirs]).to_parquet(results_dir / "probe" / "scores.parquet", index=False)
    assert build_encoders(Results(results_dir)).notes[-1] == "medicalnet: n/a: no weights; get some"


def test_the_encoders_loss_stands_beside_its_baselines_and_the_page_says_what_was_not_learned(results_dir):
    table = build_masked_loss(Results(results_dir))
    claim = get_row(table, "mean image of its modality")
    assert (claim["Mean squared error"], claim["The encoder beats it"]) == ("0.1030", "not met")
    assert get_row(table, "training mean image")["The encoder beats it"] == "met"
    assert get_row(table, "masked autoencoder")["Mean squared error"] == "0.1500"

    def show(loss):
        path = results_dir / "pretrain" / "masked_loss.parquet"
        found = pd.read_parquet(path)
        found.loc[found["predictor"] == "mae", "loss"] = loss
        found.to_parquet(path)
        return render_page(Results(results_dir), {})

    assert "does not beat the mean image of a volume's modality" in unescape(show(0.15))
    assert "learned nothing" not in show(0.15)
    page = show(0.285)
    assert "learned nothing from the patches" in page
    assert "0.285" in page
    assert "learned nothing" not in show(0.1)
    assert "does not beat" not in show(0.1)


def test_table_8_holds_the_3d_fid_alone(results):
    table = build_table_8(results)
    row = get_row(table, "Sex F (T1)")
    assert (row["gen-vs-real | ours (3D-FID)"], row["gen-vs-real | paper (3D-FID)"]) == ("99", "114.8")
    assert row["gen-vs-recons below recons-vs-real"] == "yes"
    assert row["Samples"] == "64"
    assert row["Above the floor"] == "yes"
    lacking = get_row(table, "Sex M (T1)")
    assert lacking["gen-vs-real | ours (3D-FID)"] == "n/a: no weights"
    assert lacking["gen-vs-recons below recons-vs-real"] == "n/a: arm not measured"
    assert "12.3" not in set(table.frame.to_numpy().ravel())


def test_our_own_distance_stands_under_its_own_name_beside_its_floor(results):
    table = build_fidelity(results)
    row = get_row(table, "Sex F (T1)")
    assert row["gen-vs-real | MAE features"] == "12.3"
    assert row["Floor, real-vs-real"] == "6.79 [5.5, 12.5] (n 8/20)"
    assert row["Above the floor"] == "no"
    assert row["Samples"] == "8 (few)"
    assert get_row(table, "Modality T2")["Above the floor"] == "yes"
    lacking = get_row(table, "Sex M (T1)")
    assert lacking["gen-vs-real | MAE features"] == "12.3"
    reason = "n/a: 9 unrelated people leave fewer than 4 beside 8"
    assert set(lacking[["Floor, real-vs-real", "Above the floor"]]) == {reason}
    assert row["gen-vs-recons | MAE features"] == "n/a: arm not measured"
    assert not any("FID" in name for name in table.frame.columns)
    assert "Fréchet distance on MAE features" in table.notes[0]


def test_other_distances_stand_beside_those_of_real_people(results):
    row = get_row(build_variety(results), "Sex F (T1)")
    assert (row["MMD | samples"], row["MMD | real people"]) == ("0.5", "0.25")
    assert (row["recall | samples"], row["recall | real people"]) == ("0.75", "0.9")
    assert row["KID | samples"] == "n/a: arm not measured"


def test_the_copy_detector_counts_samples_beside_held_out_people(results):
    row = get_row(build_copies(results), "T1")
    assert row["Samples flagged"] == "1 of 2"
    assert row["Expected of as many held-out people"] == "0.0 [0, 0] (n 50)"
    assert row["More than expected"] == "yes"
    assert row["Reconstructions flagged"] == "1 of 1"
    assert row["Median, most | held-out-real"] == "0.20, 0.20 (n 50)"


def test_controls_and_audit(results):
    controls = build_controls(results)
    assert get_row(controls, "random labels")["Value [95 %]"] == "2"
    assert get_row(controls, "decoy")["Value [95 %]"] == "n/a: no site has both"
    table = build_memorization(results)
    audit = get_row(table, "all")
    assert audit["Samples below the real-real percentile"] == "1 of 2"
    assert audit["Ratio of means, synthetic / real"] == "0.750"
    assert audit["Expected of as many held-out people"] == "n/a: no held-out people in this pool"
    assert audit["More than expected"].startswith("n/a")
    assert audit["Reconstructions below"] == "n/a: no reconstructions"
    assert audit["Forecasts below"].startswith("n/a: ")
    assert summarise_audit(results.read("memorization"))["n_held_out_real"][0] == 0
    # One of two samples, where none of 50 held-out people lies below.
    audit = get_row(table, "T1")
    assert audit["Expected of as many held-out people"] == "0.0 [0, 0] (n 50)"
    assert audit["More than expected"] == "yes"
    assert audit["People who share a group"] == "0"


def test_an_empty_run_gives_every_table_with_reasons(tmp_path):
    run_dir = tmp_path / "results" / "smoke"
    run_dir.mkdir(parents=True)
    run_app(run_dir, tmp_path / "paper")
    for name in ("table_3", "table_5", "table_6", "table_8"):
        rows = list(csv.reader(io.StringIO((tmp_path / "paper" / f"{name}.csv").read_text())))
        assert any(cell.startswith("n/a: this run has no ") for row in rows for cell in row)
        text = (tmp_path / "paper" / f"{name}.md").read_text()
        assert "[1] this run has no " in text
    assert "no flow diagram" in (tmp_path / "paper" / "index.html").read_text().lower()


def test_all_formats_and_the_page_are_written_the_same_again(results_dir, tmp_path):
    run_app(results_dir, tmp_path / "a")
    run_app(results_dir, tmp_path / "b")
    names = [
        *(f"table_{n}" for n in ("2a", "2b", 3, 5, 6, 7, 8)),
        "counterfactuals",
        *("longitudinal", "forecast_errors", "changes"),
        *("table_1", "appendix_f", "rivals", "checks", "every_check"),
        *("fairness_summary", "fairness", "readouts"),
        "encoders",
        "controls",
        "memorization",
        *("fidelity", "fidelity_by_split", "fidelity_on_others", "table_8_by_split", "variety"),
        *("copies", "contrastive", "planted", "membership", "usefulness"),
        *("anatomy", "anatomy_by_age", "anatomy_of_others"),
        "flow",
        "masked_loss",
        "scores",
        "judged",
        *build_tables(Results(results_dir)),
    ]
    expected = {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex", "html")}
    expected |= {"index.html", "card.html", "appendix_f.png"} | {f"{name}.png" for name in FIGURES}
    assert {path.name for path in (tmp_path / "a").iterdir()} == expected
    for name in expected:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "Samples of the conditional DiT: n/a, this run has no diffusion/samples.png." in page
    assert "snakemake results/demo/probe/scores.parquet --cores 2 --configfile config/demo.yaml" in page
    assert "2: a | b_c is 4-D" in page
    assert "<a href='card.html'>" in page


def test_reasons_are_numbered_once_each():
    frame = pd.DataFrame({"a": ["n/a: x", "1"], "b": ["n/a: y", "n/a: x"]})
    shown, notes = number_reasons(PrintedTable("t", "T", frame, "", ["first"]))
    assert shown.to_numpy().tolist() == [["n/a [1]", "n/a [2]"], ["1", "n/a [1]"]]
    assert notes == ["first", "[1] x", "[2] y"]


def test_latex_escapes_what_latex_would_read():
    text = render_latex(PrintedTable("t", "5 % & more", pd.DataFrame({"a_b": ["x_1 ± 2"]}), ""))
    assert r"5 \% \& more" in text
    assert r"a\_b" in text
    assert r"x\_1 $\pm$ 2" in text


def test_the_page_leads_to_every_cohorts_quality_page(results_dir):
    assert "Quality of the volumes: n/a" in render_page(Results(results_dir), {})
    for cohort in ("ixi", "made_up"):
        (results_dir / "preprocess" / cohort).mkdir(parents=True)
        (results_dir / "preprocess" / cohort / "quality.html").touch()
    (results_dir / "paper").mkdir()
    links = re.findall(r"href='([^']*quality[.]html)'", render_page(Results(results_dir), {}))
    assert len(links) == 2
    assert all((results_dir / "paper" / link).resolve().is_file() for link in links)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="no such results folder"):
        run_app(tmp_path / "nowhere", tmp_path / "paper")


def run_app(results_dir, out_dir):
    arguments = ["tables", "--results-dir", str(results_dir), "--out-dir", str(out_dir)]
    app(arguments, result_action="return_value")
