"""Who is in bench/generators.py, and their volumes at every visit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from phantoms import Phantoms, find_wheels

from braing3n.manifest.people import assign_split
from braing3n.manifest.settings import ManifestSettings
from braing3n.phantoms.miniature import blur_world, render_brain
from braing3n.phantoms.people import Person, draw_people

SHAPE, SPACING_MM = (40, 48, 40), 4.0
SPLITS = {"train": 0.5, "validation": 0.05}
# Later visits of controls and AD, years after the first, drawn evenly within each. A year of ageing is a ten
# thousandth of how two visits' latents differ, so that pairs few years apart would teach the bridge nothing.
LATER_VISITS_YEARS = ((1, 2), (6, 8), (14, 16))
OLDEST_YEARS = 95


def draw_visits(n_people: int, seed: int) -> list[Person]:
    """People of a seed with all their visits."""
    rng, people = np.random.default_rng([seed, n_people]), draw_people(n_people, seed, follow_up_share=1.0)
    for i, person in enumerate(people):
        drawn = [round(float(rng.uniform(*edges)), 2) for edges in LATER_VISITS_YEARS]
        years = [y for y in drawn if person.age_years + y < OLDEST_YEARS and len(person.visit_years) > 1]
        people[i] = replace(person, visit_years=(0.0, *years))
    return people


def render_visits(people: list[Person], seed: int) -> Phantoms:
    """All visits of the people; those of `test` are dealt to the judges and to the held-out."""
    world = blur_world(*find_wheels(), SPACING_MM)
    splits, rows, rendered = ManifestSettings(**SPLITS, seed=seed), [], []
    for person in people:
        split = assign_split(person.subject_id, splits)
        if split == "test":
            split = "judge" if person.index % 2 else "held-out"
        for visit, years in enumerate(person.visit_years):
            rendered.append(render_brain(world, person, visit, SHAPE, SPACING_MM))
            row = {"volume_id": f"{person.subject_id}-{visit}", "session_id": f"{visit}", "split": split}
            row |= dict.fromkeys(("person_id", "group_id", "subject_id"), person.subject_id)
            row |= {"cohort": "phantom", "modality": "T1", "age_years": person.age_years + years}
            row |= {"sex": person.sex, "dx": person.dx, "site": person.site.name, "cdr": np.nan}
            row |= {"vendor": person.site.vendor, "field_strength_t": person.site.field_strength_t}
            rows.append(row | {"index": person.index, "visit": visit})
    images, masks = (np.stack(part) for part in zip(*rendered, strict=True))
    return Phantoms(images, masks, pd.DataFrame(rows))
