"""The six commands on a model folder, on scans or on conditions, with files as results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n.apply.trained import outputs
from braing3n.apply.trained.conditions import (
    AGES_YEARS,
    Conditions,
    check_class,
    check_conditions,
    check_range,
    tabulate,
    warn_of_age,
    warn_of_conditions,
    warn_of_years,
)
from braing3n.apply.trained.look import Seen, look
from braing3n.apply.trained.scans import Prepared
from braing3n.core.bids import SUFFIXES
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import read_json, track, write_atomically
from braing3n.volumes.pack import locate_grid

if TYPE_CHECKING:
    from braing3n.diffusion.settings import SamplingSettings
    from braing3n.export.pretrained import Pretrained
    from braing3n.longitudinal.settings import ForecastSettings

STRENGTHS = (-10, 10)  # of a change; below 0 it goes the other way


def list_entities(scan: Prepared) -> dict[str, str]:
    """BIDS entities of a scan, as columns."""
    return {"sub": scan.subject, "ses": scan.session, "run": scan.run, "modality": scan.modality}


def encode(
    model: Pretrained, scans: Sequence[Prepared], out_dir: Path, with_tokens: bool, warnings: list[str]
) -> None:
    """Write `features.parquet`, a row a scan: entities, percentile of the distance, f0000 and so on.

    `with_tokens` also writes each scan's tokens to `<name>_tokens.npz`, float32 (T, width). Here and below,
    new warnings are appended to `warnings`.
    """
    rows: list[dict] = []
    used: list[Prepared] = []
    for seen in look(model, scans, "encode", warnings, used):
        scan = seen.scan
        numbers = {f"f{i:04d}": value for i, value in enumerate(seen.features)}
        rows.append({**list_entities(scan), "distance_percentile": seen.percentile, **numbers})
        if with_tokens:
            with write_atomically(out_dir / f"{scan.name}_desc-{scan.modality}_tokens.npz") as beside:
                np.savez(beside, tokens=seen.encoded[0].cpu().numpy())
    with write_atomically(out_dir / "features.parquet") as beside:
        pd.DataFrame(rows).to_parquet(beside, index=False)
    described = {"Features": "features.parquet", "Tokens": with_tokens}
    report(out_dir, "encode", model, used, described, warnings)


def predict(
    model: Pretrained, scans: Sequence[Prepared], out_dir: Path, age_years: float, warnings: list[str]
) -> None:
    """Write `predictions.tsv`, a row a scan and probe: the value, and the error and people of the probe.

    The JSON also has the training people as a whole: their ages, sexes, modalities, diseases and sites.

    age_years: of the one person, for the age gap, or NaN.
    """
    rows: list[dict] = []
    used: list[Prepared] = []
    warnings += warn_of_age(age_years, model.population)
    for seen in look(model, scans, "predict", warnings, used):
        for found in model.predict(seen.features, age_years=age_years, modality=seen.scan.modality):
            rows.append({**list_entities(seen.scan), **found})
    table = pd.DataFrame(rows)
    with write_atomically(out_dir / "predictions.tsv") as beside:
        table.to_csv(beside, sep="\t", index=False, na_rep="n/a")
    # JSON has no NaN: what a probe does not answer is left out.
    known = [{name: value for name, value in row.items() if value == value} for row in rows]
    described: dict[str, Any] = {"AgeYears": age_years} if age_years == age_years else {}
    described |= {"Predictions": known, "TrainingPeople": model.population}
    report(out_dir, "predict", model, used, described, warnings)


@torch.no_grad()
def reconstruct(model: Pretrained, scans: Sequence[Prepared], out_dir: Path, warnings: list[str]) -> None:
    """Write each scan's decoded tokens, and their mean squared error in z-scores."""
    errors: dict[str, float] = {}
    used: list[Prepared] = []
    written: list[Path] = []
    for seen in look(model, scans, "reconstruct", warnings, used):
        image = model.tokenizer.decode(model.tokenizer.project(seen.encoded))
        errors[seen.scan.label] = (image - seen.volume).square().mean().item()
        images = {"reconstructed": image}
        written += save_change(model, seen, images, "syntheticReconstruction", out_dir, warnings)
    report(out_dir, "reconstruct", model, used, {"MeanSquaredError": errors}, warnings, written)


@torch.no_grad()
def generate(
    model: Pretrained,
    conditions: Conditions,
    n: int,
    settings: SamplingSettings,
    out_dir: Path,
    warnings: list[str],
) -> None:
    """Write n samples under the conditions; those that are not given are null."""
    from braing3n.diffusion.sample import sample_tokens

    dit = need(model.dit, "generate", "DiT")
    if not conditions.modality:
        raise BrainG3nError(f"--modality: say which of {', '.join(dit.vocabularies.modality)} to generate.")
    check_conditions(conditions, dit)
    warnings += warn_of_conditions(conditions.describe(), model.population)
    names = [f"sub-synthetic{i:04d}" for i in range(1, n + 1)]
    affine = locate_grid(model.volumes, model.preprocess.spacing_mm)
    shown: dict[str, np.ndarray] = {}
    written: list[Path] = []
    for first in range(0, n, settings.batch_size):
        table = tabulate(conditions, names[first : first + settings.batch_size])
        name = f"generate: scans {first + 1} to {first + len(table)} of {n}, steps"
        tokens = sample_tokens(dit, table, settings, model.device, partial(track, description=name))
        for name, own in zip(table["sample_id"], tokens.split(1), strict=True):
            image = model.tokenizer.decode(own)[0, 0].float().cpu().numpy()
            written += outputs.write_image(
                image, affine, out_dir, name, conditions.modality, "synthetic", None
            )
            if len(shown) < 8:
                shown[name] = image
    from braing3n.training.picture import draw_volumes

    with write_atomically(out_dir / "generate.png") as beside:
        draw_volumes(shown, beside)
    sampling = settings.model_dump(mode="json", exclude={"n_samples", "batch_size"})
    described = {"Conditions": conditions.describe(), "N": n, "Sampling": sampling}
    written.append(out_dir / "generate.png")
    report(out_dir, "generate", model, [], described, warnings, written)


def check_change(model: Pretrained, own: Conditions, new: Conditions, strength: float) -> None:
    """Check that `counterfactual` can run with the model folder and the conditions.

    Raises:
        BrainG3nError: names the option, and lists the right values.
    """
    dit = need(model.dit, "counterfactual", "DiT")
    if not new.describe():
        raise BrainG3nError("counterfactual: say what changes, such as --disease AD or --age 80.")
    check_conditions(new, dit)
    check_conditions(own, dit, "own-")
    check_range("strength", strength, *STRENGTHS, is_needed=True)


@torch.no_grad()
def counterfactual(
    model: Pretrained,
    scans: Sequence[Prepared],
    own: Conditions,
    new: Conditions,
    strength: float,
    settings: SamplingSettings,
    out_dir: Path,
    warnings: list[str],
) -> None:
    """Write each scan under new conditions, from the noise that leads to it under its own conditions."""
    from braing3n.diffusion.edit import change_conditions

    dit = need(model.dit, "counterfactual", "DiT")
    for conditions in (own, new):
        warnings += warn_of_conditions(conditions.describe(), model.population)
    used: list[Prepared] = []
    written: list[Path] = []
    for seen in look(model, scans, "counterfactual", warnings, used, is_tracked=False):
        scan = seen.scan
        before = own.over(Conditions(modality=scan.modality))
        tokens = model.tokenizer.project(seen.encoded)
        known, wanted = (tabulate(c, [scan.name]) for c in (before, new.over(before)))
        with catch_warnings(record=True) as caught:
            simplefilter("always", RuntimeWarning)
            moved = change_conditions(dit, tokens, known, wanted, settings, strength, _track_ways(scan.label))
        warnings += [f"{scan.label}: {item.message}" for item in caught]
        images = {"reconstructed": model.tokenizer.decode(tokens), "changed": model.tokenizer.decode(moved)}
        written += save_change(model, seen, images, "syntheticCounterfactual", out_dir, warnings)
    described = {"Own": own.describe(), "New": new.describe(), "Strength": strength}
    own_settings = {"guidance", "guidance_form", "n_steps"}  # Euler's steps in float32, and no noise is drawn
    described |= {"Sampling": settings.model_dump(mode="json", include=own_settings)}
    report(out_dir, "counterfactual", model, used, described, warnings, written)


def _track_ways(label: str) -> Callable[[list], Iterator]:
    """What shows the progress of one scan's steps back to the noise, and then of those forth."""
    ways = iter(("back", "forth"))
    return lambda steps: track(steps, f"counterfactual: {label}, steps {next(ways)}", len(steps))


def check_years(model: Pretrained, own: dict[str, Any], years: Sequence[float]) -> None:
    """Check that `forecast` can run with the model folder, the person's facts and the years.

    Raises:
        BrainG3nError: names the option, and lists the right values.
    """
    known = need(model.bridge, "forecast", "bridge").settings.diseases
    check_class("disease", own["disease"], known)
    if not own["disease"]:
        raise BrainG3nError(f"--disease: say which of {', '.join(known)}; it is never left out.")
    check_class("sex", own["sex"], ("F", "M"))
    check_range("age", own["age_years"], *AGES_YEARS)
    check_range("cdr", own["cdr"], 0, 3)
    if not years:
        raise BrainG3nError("--years: give one or more, such as --years 1 2 5.")
    for year in years:
        check_range("years", year, *AGES_YEARS, is_needed=True)
    names = [name_years(year) for year in {0.0, *years}]  # 0 years are forecast always
    for name in {name for name in names if names.count(name) > 1}:
        raise BrainG3nError(f"--years: two of them would both be {name}; give numbers .0001 apart.")


def name_years(years: float) -> str:
    """The label of a forecast: a BIDS label has letters and digits alone, so that 0.5 years are 0p5y."""
    return f"{years:.4f}".rstrip("0").rstrip(".").replace(".", "p") + "y"


@torch.no_grad()
def forecast(
    model: Pretrained,
    scans: Sequence[Prepared],
    own: dict[str, Any],
    years: Sequence[float],
    options: ForecastSettings,
    out_dir: Path,
    warnings: list[str],
) -> None:
    """Write forecasts of each scan, and the 0-year forecast with which they are compared.

    own: disease, sex, age_years and cdr at the scan.
    """
    from braing3n.longitudinal.forecast import forecast_tokens

    bridge = need(model.bridge, "forecast", "bridge")
    written: list[Path] = []
    horizons = [0.0, *sorted(set(years) - {0.0})]
    warnings += warn_of_conditions(own, model.population) + warn_of_years(horizons[-1], model.population)
    if not warn_of_age(own["age_years"], model.population):
        warnings += warn_of_age(own["age_years"] + horizons[-1], model.population)
    used: list[Prepared] = []
    for seen in look(model, scans, "forecast", warnings, used, is_tracked=False):
        scan = seen.scan
        if scan.modality != bridge.settings.modality:
            known = bridge.settings.modality
            warnings.append(f"{scan.label}: the bridge knows {known} alone, not {scan.modality}")
        tokens = model.tokenizer.project(seen.encoded)
        table = pd.DataFrame([own | {"years": year} for year in horizons])
        watch = partial(track, description=f"forecast: {scan.label}, steps")
        moved = forecast_tokens(bridge, tokens.repeat(len(table), 1, 1), table, options, watch)
        decoded = [model.tokenizer.decode(one) for one in moved.split(1)]
        images = dict(zip(map(name_years, horizons), decoded, strict=True))
        written += save_change(model, seen, images, "syntheticForecast", out_dir, warnings, "0y")
    described = {"Own": {k: v for k, v in own.items() if v == v and v != ""}, "Years": horizons}
    described["Sampling"] = options.model_dump(mode="json", exclude={"years", "n_baselines", "batch_size"})
    report(out_dir, "forecast", model, used, described, warnings, written)


def need(part: Any, command: str, name: str) -> Any:
    """A part of the model folder that a command needs.

    Raises:
        BrainG3nError: the folder does not have it.
    """
    if part is None:
        raise BrainG3nError(f"{command}: this model folder has no {name}; export a run that trained one.")
    return part


def save_change(
    model: Pretrained,
    seen: Seen,
    images: dict[str, Tensor],
    desc: str,
    out_dir: Path,
    warnings: list[str],
    compared_with: str = "",
) -> list[Path]:
    """Write each image as NIfTI, its difference from the image of comparison, and a picture of all.

    Images are compared with `compared_with`, or with the first, the reconstruction, so that a difference is
    due to the conditions and not to the decoder. A warning names a preprocessed scan whose own space is
    not known.
    """
    scan, plain = seen.scan, {name: image[0, 0].float().cpu().numpy() for name, image in images.items()}
    base_name = compared_with or next(iter(plain))
    base, paths = plain[base_name], []
    for name, image in plain.items():
        written = {f"{desc}{name.capitalize()}": image}
        if image is not base:
            written[f"{desc}{name.capitalize()}Difference"] = image - base
        for label, array in written.items():
            paths += outputs.write_image(array, seen.affine, out_dir, scan.name, scan.modality, label, scan)
    if scan.back_path is not None and scan.grid is None:
        warnings.append(
            f"{scan.label}: images are in SRI24 alone, for a preprocessed volume does not keep the grid of "
            "its scan; name the scan itself for images in its own space"
        )
    path = out_dir / f"{scan.name}_desc-{desc}_{SUFFIXES[scan.modality]}.png"
    outputs.draw_change(seen.volume[0, 0].cpu().numpy(), plain, base_name, path)
    return [*paths, path]


def report(
    out_dir: Path,
    command: str,
    model: Pretrained,
    scans: Sequence[Prepared],
    content: dict[str, Any],
    warnings: list[str],
    synthetic: Sequence[Path] = (),
) -> None:
    """Write the JSON of a command; it holds the names of scans, not their folders.

    A warning names images of an earlier call that are still there: the report does not describe them.
    """
    path = out_dir / f"{command}.json"
    earlier = read_json(path).get("Synthetic")
    names = {name for name in earlier if isinstance(name, str)} if isinstance(earlier, list) else set()
    here = {item.name for item in out_dir.iterdir()}
    if left := sorted((names & here) - {item.name for item in synthetic}):
        warnings.append(
            f"{out_dir}: {len(left)} images of an earlier call are still there, such as {left[0]}; "
            f"{path.name} describes the last call alone"
        )
    described = [list_entities(scan) | {"file": scan.path.name} for scan in scans]
    whole = {"ModelConfigSHA256": model.digest, "Scans": described, **content}
    outputs.write_report(path, command, whole, warnings, synthetic)
