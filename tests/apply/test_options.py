"""What a user says reaches the model: conditions, options, the scan's contrast, and how it is read."""

import json
import re
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.apply.trained.conditions import Conditions, warn_of_conditions, warn_of_years
from braing3n.apply.trained.scans import Given, open_scans, take_volume
from braing3n.cli import main
from braing3n.config import PreprocessSettings
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import digest_file
from braing3n.export.pretrained import from_pretrained
from braing3n.export.statistics import describe_follow_up
from braing3n.volumes.pack import load_volume

from .conftest import read

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_counterfactual_keeps_what_is_not_said(run, one, asked):
    own = "--own-disease", "AD", "--own-sex", "M", "--own-age", "60", "--own-idh1", "mutant"
    options = "--strength", "0.5", "--guidance", "3", "--steps", "7"
    words = one, "--modality", "T2", *own, "--disease", "HC", "--sex", "F", "--idh1", "wildtype", *options
    status, _, printed = run("counterfactual", *words, scans=False)
    assert status == 0, printed
    known, wanted, settings, strength = asked["counterfactual"]
    names = ["disease", "sex", "modality", "age_years"]
    assert list(known[names]) == ["AD", "M", "T2", 60]
    assert list(wanted[names]) == ["HC", "F", "T2", 60]
    assert (known["idh1"], wanted["idh1"]) == ("mutant", "wildtype")
    assert (strength, settings.guidance, settings.n_steps) == (0.5, 3.0, 7)
    assert "hardly any or no training volume is a T2" in printed
    _, _, printed = run("counterfactual", one, "--age", "99", scans=False)
    assert "an age of 99 years is outside" in printed


@pytest.mark.parametrize(
    ("command", "option"),
    [("predict", "age"), ("generate", "age"), ("counterfactual", "own-age"), ("forecast", "cdr")],
)
@pytest.mark.parametrize("text", ["nan", "inf", "1,5"])
def test_a_number_that_is_none_is_refused_and_not_taken_as_missing(capsys, command, option, text):
    scans = ["x.nii.gz"] if command != "generate" else []
    needed = ["--disease", "HC"] if command == "forecast" else []
    assert main([command, *scans, "--model", ".", "-o", "x", *needed, f"--{option}", text]) == 2
    assert f'--{option}: "{text}" is no finite number' in capsys.readouterr().err


def test_a_forecast_has_the_persons_facts_and_each_its_years(run, one, asked):
    facts = "--disease", "MCI", "--age", "50", "--sex", "F", "--cdr", "0.5"
    words = *facts, "--years", "4", "0.5", "--steps", "3", "--guidance", "2.5"
    status, out, printed = run("forecast", one, "--modality", "T2", *words, scans=False)
    assert status == 0, printed
    table, options = asked["forecast"]
    assert list(table["years"]) == [0, 0.5, 4]
    known = table[["disease", "sex", "age_years", "cdr"]].drop_duplicates()
    assert known.to_numpy().tolist() == [["MCI", "F", 50.0, 0.5]]
    assert (options.n_steps, options.guidance) == (3, 2.5)
    assert "the bridge knows T1 alone, not T2" in printed
    assert all(
        re.search(r"_desc-[A-Za-z0-9]+_T2w\.(nii\.gz|png)$", path.name) for path in out.glob("sub-*.*")
    )
    shown = {path.name.split("Forecast")[1].split("_")[0]: read(path) for path in out.glob("*.nii.gz")}
    for name in ("0p5y", "4y"):
        np.testing.assert_allclose(shown[f"{name}Difference"], shown[name] - shown["0y"], atol=1e-5)
    _, _, printed = run("forecast", one, "--disease", "HC", "--age", "99", scans=False)
    assert "an age of 99 years is outside" in printed
    assert "the bridge knows" not in printed


def test_samples_are_of_the_conditions_and_have_the_options(run, asked):
    said = "--modality", "FLAIR", "--disease", "AD", "--age", "99", "--sex", "F", "--site", "lab/one"
    words = *said, "--n", "40", "--guidance", "4", "--steps", "5", "--seed", "8"
    status, out, printed = run("generate", *words, scans=False)
    assert status == 0, printed
    table = pd.concat([table for table, _ in asked["generate"]])
    assert table["sample_id"].is_unique
    assert len(table) == 40
    assert {path.name.split("_space")[0] for path in out.glob("*_FLAIR.nii.gz")} == set(table["sample_id"])
    known = table[["disease", "sex", "modality", "site", "age_years"]].drop_duplicates()
    assert known.to_numpy().tolist() == [["AD", "F", "FLAIR", "lab/one", 99.0]]
    settings = asked["generate"][0][1]
    assert (settings.guidance, settings.n_steps, settings.seed) == (4.0, 5, 8)
    assert "an age of 99 years is outside" in printed


def test_a_reconstruction_is_the_tokens_decoded_and_its_error_is_from_the_scan(run, made, scan):
    status, out, _ = run("reconstruct")
    assert status == 0
    model = from_pretrained(made[0], "cpu")
    volume, _ = load_volume(*(next(scan.rglob(f"*{end}.nii.gz")) for end in ("T1w", "mask")), model.volumes)
    volume = torch.from_numpy(volume)[None, None]
    with torch.no_grad():
        image = model.decode(model.project(model.encode(volume)))
    (path,) = out.glob("*Reconstructed_T1w.nii.gz")
    np.testing.assert_allclose(read(path), image[0, 0].numpy(), atol=1e-5)
    (error,) = json.loads((out / "reconstruct.json").read_text())["MeanSquaredError"].values()
    assert error == pytest.approx((image - volume).square().mean().item(), rel=1e-4)


def test_the_probe_of_the_scans_contrast_answers(run):
    _, out, _ = run("predict")
    table = pd.read_csv(out / "predictions.tsv", sep="\t")
    assert set(table["probe_of"]) == {"T1"}


def test_what_is_said_stands_before_what_is_known():
    known = Conditions(disease="AD", age_years=60.0)
    assert Conditions(disease="HC", sex="F").over(known) == Conditions("HC", "F", age_years=60.0)


def test_a_young_age_is_warned_of(run):
    _, _, printed = run("predict", "--age", "3")
    assert "an age of 3 years is outside" in printed


def test_raw_scans_are_preprocessed_as_the_models_volumes_and_as_said(tmp_path, monkeypatch):
    path, asked = tmp_path / "scan.nii.gz", []
    path.write_bytes(b"")
    monkeypatch.setattr("braing3n.apply.preprocess.answer", lambda request: asked.append(request) or [])
    monkeypatch.setattr("braing3n.core.errors.require", lambda *modules: None)
    settings = PreprocessSettings(spacing_mm=3.0)
    given = Given([path], subject="9", session="2", is_stripped=True)
    with pytest.raises(BrainG3nError, match="no volume was kept"):
        open_scans(given, settings, tmp_path)
    facts = asked[0].facts
    assert (facts.subject_id, facts.session_id, facts.is_stripped) == ("9", "2", True)
    assert asked[0].changes == settings.model_dump(mode="json")


def test_stripped_is_said_on_the_command_line(made, tmp_path, monkeypatch):
    asked = []
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    monkeypatch.setattr(
        "braing3n.apply.trained.scans.open_scans", lambda given, *_: asked.append(given) or ([], [])
    )
    words = ["encode", str(tmp_path / "scan.nii.gz"), "--model", str(made[0]), "-o", str(tmp_path / "out")]
    main([*words, "--stripped", "--subject", "9", "--session", "2"])
    assert (asked[0].is_stripped, asked[0].subject, asked[0].session) == (True, "9", "2")
    main([*words, "--threads", "3"])
    assert [given.n_workers for given in asked] == [1, 3]


def test_the_name_tells_an_agent_and_whose_mask_lies_beside_it(tmp_path):
    stem = "sub-1_ses-2"
    for name in (f"{stem}_ce-gadolinium_space-SRI24_desc-preproc_T1w", f"{stem}_space-SRI24_desc-brain_mask"):
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "sub-1_space-SRI24_desc-brain_mask.nii.gz").touch()  # of another visit
    found = take_volume(next(tmp_path.glob("*T1w.nii.gz")), Given([]))
    assert (found.modality, found.mask_path.name) == ("T1c", f"{stem}_space-SRI24_desc-brain_mask.nii.gz")


def test_a_volume_of_other_directions_is_refused(made, tmp_path, capsys):
    """The box of SRI24, but R-A-S: taken as it is, left would be right."""
    path = tmp_path / "sub-1_space-SRI24_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((30, 30, 20), np.float32), np.diag([8.0, 8, 8, 1])), path)
    assert main(["encode", str(path), "--model", str(made[0]), "-o", str(tmp_path / "out")]) == 2
    assert "stored L-P-S" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("generate", ["--n", "1.5"], '--n: "1.5" is no whole number'),
        ("generate", ["--steps", "2.5"], '--steps: "2.5" is no whole number'),
        ("generate", ["--seed", "-1"], '"-1" for --seed. Must be >= 0'),
        ("generate", ["--guidance", "-1"], '"-1.0" for --guidance. Must be >= 0'),
        ("generate", ["--guidance", "inf"], '"inf" for --guidance'),
        ("generate", ["--disease"], "--disease is missing, or has no value"),
        ("counterfactual", ["--disease", "AD", "--seed", "1"], "Unknown option: --seed"),
        ("forecast", ["--disease", "HC", "--seed", "1"], "Unknown option: --seed"),
        ("forecast", [], "--disease is missing, or has no value"),
        ("forecast", ["--disease", "HC", "--years"], "--years: give one or more"),
    ],
)
def test_what_cannot_be_done_is_not_taken_for_something_else(run, command, words, sentence):
    status, _, printed = run(command, *words, scans=command != "generate")
    (line,) = [line for line in printed.splitlines() if line.startswith("braing3n:")]
    assert status == 2
    assert sentence in line


def test_what_the_model_hardly_saw_is_warned_of(run, one, asked):
    """Its training people have HC, AD or PD, and T1 scans at one site."""
    unseen = "hardly any or no training "
    status, out, printed = run("generate", "--modality", "FLAIR", "--disease", "AD", scans=False)
    assert status == 0
    assert f"{unseen}volume is a FLAIR" in printed
    assert json.loads((out / "generate.json").read_text())["Warnings"] == [f"{unseen}volume is a FLAIR"]
    assert unseen not in run("generate", "--disease", "HC", "--sex", "F", "--age", "50", scans=False)[2]
    assert f"{unseen}person has the disease MCI" in run("forecast", one, "--disease", "MCI", scans=False)[2]


def test_a_class_that_the_model_was_built_for_and_never_saw_is_warned_of():
    population = {"age_years": {"min": 20, "max": 80}, "modalities": {"T1": 50}, "diseases": {"HC": 30}}
    population |= {"sexes": {"F": 30}, "sites": {"a": 30}, "idh1": {"mutant": 30}}
    known = {"disease": "HC", "sex": "F", "site": "a", "modality": "T1", "age_years": 50.0}
    assert warn_of_conditions(known, population) == []
    for name, value in (("disease", "ASD"), ("sex", "M"), ("site", "b"), ("idh1", "wildtype")):
        found = warn_of_conditions(known | {name: value}, population)
        assert found == [f"hardly any or no training person has the {name} {value}"]
    assert warn_of_conditions({}, population) == []


def test_a_forecast_beyond_the_training_ages_is_warned_of_and_reported(run, one, asked):
    words = one, "--disease", "HC", "--age", "75"
    assert "is outside" not in run("forecast", *words, "--years", "1", scans=False)[2]
    _, out, printed = run("forecast", *words, "--years", "1", "20", "--guidance", "2.5", scans=False)
    assert printed.count("an age of 95 years is outside") == 1
    sampled = json.loads((out / "forecast.json").read_text())["Sampling"]
    assert (sampled["guidance"], sampled["n_steps"]) == (2.5, 4)


def test_of_one_scan_the_time_left_is_printed_before_it_is_done(run):
    for command, words, says in (
        ("generate", ["--n", "2", "--steps", "4"], ["generate: scans 1 to 2 of 2, steps: 1/4 in"]),
        ("forecast", ["--disease", "HC", "--steps", "4"], ["forecast: sub-07_ses-1_T1w, steps: 1/4 in"]),
        (
            "counterfactual",
            ["--disease", "AD", "--steps", "4"],
            [f"counterfactual: sub-07_ses-1_T1w, steps {way}: 1/4 in" for way in ("back", "forth")],
        ),
    ):
        _, _, printed = run(command, *words, scans=command != "generate")
        for text in says:
            (line,) = [line for line in printed.splitlines() if line.startswith(text)]
            assert line.endswith(" s left")


def test_predictions_name_the_people_that_the_probes_are_of(run, made):
    _, out, _ = run("predict")
    found = json.loads((out / "predict.json").read_text())["TrainingPeople"]
    training = made[1][made[1]["split"] == "train"]
    counts = training.groupby("dx")["person_id"].nunique()
    assert found["diseases"] == (counts // 5 * 5).to_dict()
    assert found["age_years"]["min"] == int(training["age_years"].min())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("reconstruct", []),
        ("counterfactual", ["--disease", "AD", "--steps", "2"]),
        ("forecast", ["--disease", "HC", "--steps", "2"]),
        ("generate", ["--n", "2", "--steps", "2"]),
    ],
)
def test_the_report_lists_every_image_and_picture_as_synthetic(run, command, words):
    status, out, _ = run(command, *words, scans=command != "generate")
    assert status == 0
    images = {path.name for path in out.iterdir() if path.suffix in (".gz", ".png")}
    report = json.loads((out / f"{command}.json").read_text())
    assert set(report["Synthetic"]) == images
    assert len(images) > 1


def test_a_preprocessed_volume_whose_own_space_is_unknown_is_warned_of(run):
    _, out, printed = run("reconstruct")
    assert not list(out.glob("*space-native*"))
    assert "images are in SRI24 alone" in printed
    assert "images are in SRI24 alone" not in run("encode")[2]


def test_a_counterfactual_that_does_not_keep_the_person_is_warned_of(run, monkeypatch):
    def change(dit, tokens, *_):
        warnings.warn("the person is not kept: ...", RuntimeWarning, stacklevel=2)
        return tokens

    monkeypatch.setattr("braing3n.diffusion.edit.change_conditions", change)
    _, out, printed = run("counterfactual", "--disease", "AD")
    assert "sub-07_ses-1_T1w: the person is not kept" in printed
    assert "the person is not kept" in json.dumps(
        json.loads((out / "counterfactual.json").read_text())["Warnings"]
    )


def test_the_report_has_the_options_the_model_and_the_scans_that_were_used(run, made, one, tmp_path):
    _, out, _ = run("predict", "--age", "60")
    found = json.loads((out / "predict.json").read_text())
    assert found["AgeYears"] == 60
    assert found["ModelConfigSHA256"] == digest_file(made[0] / "config.json")
    bad = tmp_path / "sub-9_space-SRI24_T1w.nii.gz"
    bad.write_bytes(b"no image")
    _, out, printed = run("encode", str(bad))
    found = json.loads((out / "encode.json").read_text())
    assert [item["sub"] for item in found["Scans"]] == ["07"]
    assert "sub-9_T1w: is left out" in printed
    _, out, _ = run("counterfactual", one, "--disease", "AD", "--steps", "2", scans=False)
    assert set(json.loads((out / "counterfactual.json").read_text())["Sampling"]) == {
        "guidance",
        "guidance_form",
        "n_steps",
    }


def test_images_of_an_earlier_call_are_warned_of(run, asked):
    _, _, printed = run("generate", "--n", "3", scans=False)
    assert "earlier call" not in printed
    _, out, printed = run("generate", "--n", "1", scans=False)
    assert "2 images of an earlier call are still there, such as sub-synthetic0002" in printed
    assert len(list(out.glob("*.nii.gz"))) == 3


def test_forecasts_have_names_of_their_own_and_years_that_people_were_followed(run, one, asked, made):
    status, _, printed = run("forecast", one, "--disease", "HC", "--years", "1", "1.00001", scans=False)
    assert status == 2
    assert "--years: two of them would both be 1y" in printed
    status, _, printed = run("forecast", one, "--disease", "HC", "--years", "0.00001", scans=False)
    assert status == 2
    assert "both be 0y" in printed
    population = {"years_followed": 5}
    assert warn_of_years(5.0, population) == []
    assert "beyond the 5 years" in warn_of_years(60.0, population)[0]
    assert warn_of_years(60.0, {}) == []


def test_follow_up_is_of_enough_training_people():
    people = [f"p{k}" for k in range(6)]
    pairs = pd.DataFrame(
        {"person_id": people, "split": ["train"] * 5 + ["test"], "years": [1, 2, 3, 4, 9.5, 12]}
    )
    assert describe_follow_up(pairs, 3) == 3
    assert describe_follow_up(pairs, 1) == 9
    assert describe_follow_up(pairs, 6) == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate", ["--steps", "1000000000000000"]),
        ("generate", ["--n", "100000000"]),
        ("counterfactual", ["--disease", "AD", "--guidance", "1e20"]),
    ],
)
def test_numbers_that_no_machine_can_do_are_refused(run, command, words):
    status, _, printed = run(command, *words, scans=command == "counterfactual")
    assert status == 2
    assert "Must be <=" in printed
