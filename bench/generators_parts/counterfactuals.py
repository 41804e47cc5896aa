"""Changed scans of held-out people against the truth: the phantom rendered with the changed trait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from phantoms import find_wheels

from braing3n.diffusion.edit import change_conditions
from braing3n.phantoms.miniature import blur_world, render_brain
from braing3n.phantoms.people import Person

from .control import BLANK
from .study import Study, bootstrap, tokenize
from .visits import SHAPE, SPACING_MM

N_CHANGED = 32  # held-out people of each counterfactual, at most
N_CHANGE_STEPS = 20  # Euler steps of a counterfactual; the way back undoes each of them
REGION = 0.05  # share of the brain that an effect is planted in


def list_changes(person: Person) -> dict[str, Person]:
    """Which trait may be changed, and the person with it changed."""
    changes = {"sex": replace(person, sex="M" if person.sex == "F" else "F")}
    if person.dx in ("HC", "AD") and person.age_years >= 40:
        changes["disease"] = replace(person, dx="AD" if person.dx == "HC" else "HC")
    if 20 <= person.age_years <= 60:
        changes["age"] = replace(person, age_years=person.age_years + 25)
    return changes


def describe(person: Person) -> dict:
    """The six conditions that a person has."""
    known = {"disease": person.dx, "sex": person.sex, "site": person.site.name}
    return BLANK | known | {"age_years": person.age_years}


def measure_counterfactuals(study: Study, guidance: float) -> dict:
    """Each trait's change against the truth, of held-out people at their first visit."""
    world, table = blur_world(*find_wheels(), SPACING_MM), study.volumes.table
    rows = [row for row in study.rows("held-out") if table["visit"].iloc[row] == 0]
    options = {"guidance": guidance, "n_steps": N_CHANGE_STEPS}
    settings = study.config.diffusion.sampling.model_copy(update=options)
    found = {}
    for trait in ("sex", "disease", "age"):
        chosen = [r for r in rows if trait in list_changes(study.people[table["index"].iloc[r]])][:N_CHANGED]
        people = [study.people[table["index"].iloc[row]] for row in chosen]
        others = [list_changes(person)[trait] for person in people]
        own, new = (pd.DataFrame([describe(p) for p in group]) for group in (people, others))
        tokens = torch.from_numpy(study.tokens[chosen].astype(np.float32))
        changed = change_conditions(study.dit, tokens, own, new, settings)
        back = change_conditions(study.dit, changed, new, own, settings)
        same = change_conditions(study.dit, tokens, own, own, settings)
        truth = np.stack([render_brain(world, p, 0, SHAPE, SPACING_MM)[0] for p in others])
        images = study.volumes.images[chosen]
        best = tokenize(study.encoder, study.tokenizer, truth)
        as_is, changed, back, same, best = map(study.decode, (tokens, changed, back, same, best))
        brain = study.volumes.masks[chosen].all(axis=0)
        planted = np.where(brain, np.abs(truth - images).mean(axis=0), -1)
        inside = brain & (planted >= np.quantile(planted[brain], 1 - REGION))
        outside = brain & ~inside

        def distance(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> np.ndarray:
            return np.abs(a - b)[:, where].mean(axis=1)

        error, no_change = (distance(image, truth, inside) for image in (changed, as_is))
        effects = distance(changed, as_is, inside), distance(changed, as_is, outside)
        planted_effects = distance(truth, images, inside), distance(truth, images, outside)
        best_effects = distance(best, as_is, inside), distance(best, as_is, outside)  # what can be shown
        found[trait] = {
            "n": len(chosen),
            "gain": bootstrap([no_change - error], np.mean),
            "no_change": float(no_change.mean()),
            "inside": float(effects[0].mean()),
            "outside": float(effects[1].mean()),
            "planted_inside": float(planted_effects[0].mean()),
            "planted_outside": float(planted_effects[1].mean()),
            "tokenizer_inside": float(best_effects[0].mean()),
            "tokenizer_outside": float(best_effects[1].mean()),
            "composition": float(distance(same, as_is, brain).mean()),
            "reversal": float(distance(back, as_is, brain).mean()),
            "reconstruction": float(distance(as_is, images, brain).mean()),
        }
    return found
