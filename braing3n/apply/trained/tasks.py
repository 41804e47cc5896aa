"""The six commands on a model folder, on scans or on conditions, with files as results."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    warn_of_scan,
)
from braing3n.apply.trained.scans import Prepared, check_grid
from braing3n.core.bids import SUFFIXES
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import track, write_atomically
from braing3n.volumes.pack import load_volume, locate_grid

if TYPE_CHECKING:
    from braing3n.diffusion.settings import SamplingSettings
    from braing3n.export.pretrained import Pretrained
    from braing3n.longitudinal.settings import ForecastSettings

STRENGTHS = (-10, 10)  # of a change; below 0 it goes the other way


@dataclass
class Seen:
    """A scan as the model sees it: its volume (1, 1, D, H, W), tokens (1, T, d) and mean features (F,)."""

    scan: Prepared
    volume: Tensor
    encoded: Tensor
    features: np.ndarray
    percentile: float


@torch.no_grad()
def look(
    model: Pretrained, scans: Sequence[Prepared], command: str, warnings: list[str], is_tracked: bool = True
) -> Iterator[Seen]:
    """Encode scans one by one; warn if a scan is unlike the training volumes, or cannot be used.

    is_tracked: show the progress over the scans.

    Raises:
        BrainG3nError: none of them can be used.
    """
    n_seen = 0
    for scan in track(scans, f"{command}: scans", len(scans)) if is_tracked else scans:
        try:
            check_grid(scan.path)
            image, lost = load_volume(scan.path, scan.mask_path, model.volumes)
        except (BrainG3nError, OSError, EOFError, ValueError, zlib.error) as error:
            reason = str(error).removesuffix(".")
            where = "" if str(scan.path) in reason else f"{scan.path}: "
            warnings.append(f"{scan.label}: is left out, for it cannot be used ({where}{reason})")
            continue
        volume = torch.from_numpy(image)[None, None].to(model.device)
        encoded = model.encoder.encode(volume).float()
        features = encoded.mean(dim=1)[0].cpu().numpy()
        percentile = float(model.measure_distance(features[None])[0])
        for text in warn_of_scan(scan.modality, percentile, lost, model.population):
            warnings.append(f"{scan.label}: {text}")
        n_seen += 1
        yield Seen(scan, volume, encoded, features, percentile)
    if not n_seen:
        raise BrainG3nError(f"{command}: no scan can be used; {'; '.join(warnings)}.")


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
    rows = []
    for seen in look(model, scans, "encode", warnings):
        scan = seen.scan
        numbers = {f"f{i:04d}": value for i, value in enumerate(seen.features)}
        rows.append({**list_entities(scan), "distance_percentile": seen.percentile, **numbers})
        if with_tokens:
            with write_atomically(out_dir / f"{scan.name}_desc-{scan.modality}_tokens.npz") as beside:
                np.savez(beside, tokens=seen.encoded[0].cpu().numpy())
    with write_atomically(out_dir / "features.parquet") as beside:
        pd.DataFrame(rows).to_parquet(beside, index=False)
    report(out_dir / "encode.json", "encode", scans, {"Features": "features.parquet"}, warnings)


def predict(
    model: Pretrained, scans: Sequence[Prepared], out_dir: Path, age_years: float, warnings: list[str]
) -> None:
    """Write `predictions.tsv`, a row a scan and probe: the value, and the error and people of the probe.

    The JSON also has the training people as a whole: their ages, sexes, modalities, diseases and sites.

    age_years: of the one person, for the age gap, or NaN.
    """
    rows = []
    warnings += warn_of_age(age_years, model.population)
    for seen in look(model, scans, "predict", warnings):
        for found in model.predict(seen.features, age_years=age_years, modality=seen.scan.modality):
            rows.append({**list_entities(seen.scan), **found})
    table = pd.DataFrame(rows)
    with write_atomically(out_dir / "predictions.tsv") as beside:
        table.to_csv(beside, sep="\t", index=False, na_rep="n/a")
    # JSON has no NaN: what a probe does not answer is left out.
    known = [{name: value for name, value in row.items() if value == value} for row in rows]
    described = {"Predictions": known, "TrainingPeople": model.population}
    report(out_dir / "predict.json", "predict", scans, described, warnings)


@torch.no_grad()
def reconstruct(model: Pretrained, scans: Sequence[Prepared], out_dir: Path, warnings: list[str]) -> None:
    """Write each scan's decoded tokens, and their mean squared error in z-scores."""
    errors, written = {}, []
    for seen in look(model, scans, "reconstruct", warnings):
        image = model.tokenizer.decode(model.tokenizer.project(seen.encoded))
        errors[seen.scan.label] = (image - seen.volume).square().mean().item()
        images = {"reconstructed": image}
        written += save_change(model, seen, images, "syntheticReconstruction", out_dir, warnings)
    found = {"MeanSquaredError": errors}
    report(out_dir / "reconstruct.json", "reconstruct", scans, found, warnings, written)


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
    described = {"Conditions": conditions.describe(), "N": n, "Sampling": settings.model_dump(mode="json")}
    written.append(out_dir / "generate.png")
    report(out_dir / "generate.json", "generate", [], described, warnings, written)


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
    written = []
    for seen in look(model, scans, "counterfactual", warnings, is_tracked=False):
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
    described |= {"Sampling": settings.model_dump(mode="json")}
    report(out_dir / "counterfactual.json", "counterfactual", scans, described, warnings, written)


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
    warnings += warn_of_conditions(own, model.population)
    if not warn_of_age(own["age_years"], model.population):
        warnings += warn_of_age(own["age_years"] + horizons[-1], model.population)
    for seen in look(model, scans, "forecast", warnings, is_tracked=False):
        scan = seen.scan
        if scan.modality != bridge.settings.modality:
            known = bridge.settings.modality
            warnings.append(f"{scan.label}: the bridge knows {known} alone, not {scan.modality}")
        tokens = model.tokenizer.project(seen.encoded)
        table = pd.DataFrame([own | {"years": year} for year in horizons])
        watch = partial(track, description=f"forecast: {scan.label}, steps")
        moved = forecast_tokens(bridge, tokens.repeat(len(table), 1, 1), table, options, watch)
        decoded = [model.tokenizer.decode(one) for one in moved.split(1)]
        # A BIDS label has letters and digits alone: 0.5 years are 0p5y.
        names = [f"{year:g}y".replace(".", "p") for year in horizons]
        images = dict(zip(names, decoded, strict=True))
        written += save_change(model, seen, images, "syntheticForecast", out_dir, warnings, "0y")
    described = {"Own": {k: v for k, v in own.items() if v == v and v != ""}, "Years": horizons}
    described["Sampling"] = options.model_dump(mode="json", exclude={"years", "n_baselines", "batch_size"})
    report(out_dir / "forecast.json", "forecast", scans, described, warnings, written)


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
    affine = locate_grid(model.volumes, model.preprocess.spacing_mm)
    scan, plain = seen.scan, {name: image[0, 0].float().cpu().numpy() for name, image in images.items()}
    base_name = compared_with or next(iter(plain))
    base, paths = plain[base_name], []
    for name, image in plain.items():
        written = {f"{desc}{name.capitalize()}": image}
        if image is not base:
            written[f"{desc}{name.capitalize()}Difference"] = image - base
        for label, array in written.items():
            paths += outputs.write_image(array, affine, out_dir, scan.name, scan.modality, label, scan)
    if scan.back_path is not None and scan.grid is None:
        warnings.append(
            f"{scan.label}: images are in SRI24 alone, for a preprocessed volume does not keep the grid of "
            "its scan; name the scan itself for images in its own space"
        )
    path = out_dir / f"{scan.name}_desc-{desc}_{SUFFIXES[scan.modality]}.png"
    outputs.draw_change(seen.volume[0, 0].cpu().numpy(), plain, base_name, path)
    return [*paths, path]


def report(
    path: Path,
    command: str,
    scans: Sequence[Prepared],
    content: dict[str, Any],
    warnings: list[str],
    synthetic: Sequence[Path] = (),
) -> None:
    """Write the JSON of a command; it holds the names of scans, not their folders."""
    described = [list_entities(scan) | {"file": scan.path.name} for scan in scans]
    outputs.write_report(path, command, {"Scans": described, **content}, warnings, synthetic)
