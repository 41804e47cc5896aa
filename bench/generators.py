"""What the generators learn on phantoms, three fresh seeds: control, counterfactuals and forecasts.

Half of the people train the models (the sizes of the demo), a quarter fits the judges, and a quarter is held
out: the judges are scored on them, and they are changed and forecast. A judge is a linear probe on decoded
volumes. A counterfactual is compared with the truth: the same phantom rendered with the changed trait, all
else equal.
Prints a table, and exits 1 where a claim fails. A killed run resumes where --work-dir is given; give another
after a change of code.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs/generators.md"
BEGIN = "<!-- written by bench/generators.py --write -->"
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402

set_threads(count_cpus())  # before torch is loaded

import torch  # noqa: E402
from generators_parts.claims import format_table, list_claims  # noqa: E402
from generators_parts.visits import SHAPE, SPACING_MM, draw_visits, render_visits  # noqa: E402
from phantoms import SEEDS, Phantoms, find_wheels, name_people  # noqa: E402

from braing3n.config import Config, load_config  # noqa: E402
from braing3n.core.settings import OptimiserSettings  # noqa: E402
from braing3n.diffusion.edit import change_conditions  # noqa: E402
from braing3n.diffusion.model import DiT  # noqa: E402
from braing3n.diffusion.sample import sample_tokens  # noqa: E402
from braing3n.diffusion.train import Latents, train_dit  # noqa: E402
from braing3n.encoders.voxels import average_voxels  # noqa: E402
from braing3n.longitudinal.forecast import forecast_tokens  # noqa: E402
from braing3n.longitudinal.model import Bridge  # noqa: E402
from braing3n.longitudinal.pairs import list_pairs  # noqa: E402
from braing3n.longitudinal.train import Ends, train_bridge  # noqa: E402
from braing3n.nets.weights import load_model  # noqa: E402
from braing3n.phantoms.miniature import blur_world, render_brain  # noqa: E402
from braing3n.phantoms.people import Person  # noqa: E402
from braing3n.pretrain.model import MaskedAutoencoder  # noqa: E402
from braing3n.pretrain.train import train_encoder  # noqa: E402
from braing3n.probe.fit import build_model  # noqa: E402
from braing3n.probe.settings import ProbeSettings  # noqa: E402
from braing3n.tokenizer.model import Tokenizer  # noqa: E402
from braing3n.tokenizer.train import train_tokenizer  # noqa: E402

CPU = torch.device("cpu")
N_STEPS = {"pretrain": 1200, "tokenizer": 1440, "diffusion": 2000, "longitudinal": 1750}
DISEASES = ("HC", "AD", "GBM")  # those that a T1 shows; SCZ is nothing but its site
N_SAMPLES = 64  # a class
N_CHANGED = 32  # held-out people of each counterfactual, at most
N_FORECAST = 128  # first visits of held-out people that are forecast to a later one, at most
N_CHANGE_STEPS = 20  # Euler steps of a counterfactual; the way back undoes each of them
REGION = 0.05  # share of the brain that an effect is planted in
YEARS = (0.0, 1.0, 2.0, 3.0, 5.0)
BLANK = {"disease": "", "sex": "", "modality": "T1", "site": "", "age_years": np.nan, "idh1": ""}


@dataclass
class Study:
    """One seed's people and their models."""

    people: list[Person]
    volumes: Phantoms
    encoder: MaskedAutoencoder
    tokenizer: Tokenizer
    tokens: np.ndarray  # float16 (N, T, d)
    dit: DiT
    config: Config

    def decode(self, tokens: torch.Tensor | np.ndarray) -> np.ndarray:
        """Volumes float32 (M, D, H, W) of tokens (M, T, d)."""
        with torch.no_grad():
            parts = torch.as_tensor(np.asarray(tokens, dtype=np.float32)).split(8)
            return np.concatenate([self.tokenizer.decode(part)[:, 0].float().numpy() for part in parts])

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split: train, judge or held-out."""
        return np.flatnonzero(self.volumes.table["split"] == split)


def tokenize(encoder: MaskedAutoencoder, tokenizer: Tokenizer, images: np.ndarray) -> np.ndarray:
    """Tokens float32 (M, T, d) of volumes (M, D, H, W)."""
    with torch.no_grad():
        parts = torch.from_numpy(images)[:, None].split(8)
        return np.concatenate([tokenizer.project(encoder.encode(part)).numpy() for part in parts])


def fit_steps(options: OptimiserSettings, name: str, n: int) -> OptimiserSettings:
    """As many epochs of n rows as make the steps of `N_STEPS`."""
    n_epochs = max(1, round(N_STEPS[name] / max(1, n // options.batch_size)))
    warmup = min(options.n_warmup_epochs, round(n_epochs / 8))
    every = {"validate_every_epochs": max(1, n_epochs // 5)}
    return options.model_copy(update={"n_epochs": n_epochs, "n_warmup_epochs": warmup, **every})


def train_models(people: list[Person], volumes: Phantoms, config: Config, seed: int, folder: Path) -> Study:
    """Encoder, tokenizer and DiT of this seed's training people."""
    n, source = int((volumes.table["split"] == "train").sum()), name_people(folder, volumes)

    def settle(name: str):
        section = getattr(config, name)
        return section.model_copy(update={"seed": seed, "optimiser": fit_steps(section.optimiser, name, n)})

    paths = {name: folder / f"{name}.safetensors" for name in N_STEPS}
    train_encoder(
        volumes, settle("pretrain"), folder / "mae", paths["pretrain"], [source],
        table_path=folder / "masked_loss.parquet",
    )  # fmt: skip
    encoder = load_model(MaskedAutoencoder, paths["pretrain"])
    inputs = [paths["pretrain"], source]
    train_tokenizer(volumes, encoder, settle("tokenizer"), folder / "tok", paths["tokenizer"], inputs)
    tokenizer = load_model(Tokenizer, paths["tokenizer"])
    tokens = tokenize(encoder, tokenizer, volumes.images).astype(np.float16)
    latents = Latents(tokens, tokenizer.grid, volumes.table)
    inputs = [paths["tokenizer"], source]
    train_dit(latents, settle("diffusion"), folder / "dit", paths["diffusion"], inputs)
    return Study(people, volumes, encoder, tokenizer, tokens, load_model(DiT, paths["diffusion"]), config)


# ---- judges ------------------------------------------------------------------------------------------


class Judge:
    """A linear probe of one column on decoded volumes of the judges' people; never one whom a model saw."""

    def __init__(self, study: Study, column: str, classes: tuple[str, ...] = ()):
        self.study, self.column, table = study, column, study.volumes.table
        rows = study.rows("judge")
        if classes:
            rows = rows[table[column].iloc[rows].isin(classes)]
        kind = "classification" if classes else "regression"
        features = self.see(study.decode(study.tokens[rows]))
        self.model = build_model(kind, len(rows), features.shape[1], ProbeSettings(), has_pca=True)
        self.model.fit(features, table[column].iloc[rows].to_numpy())

    @staticmethod
    def see(images: np.ndarray) -> np.ndarray:
        """Averages over cubes, (M, F)."""
        return np.stack([average_voxels(image, image != 0) for image in images])

    def read(self, images: np.ndarray) -> np.ndarray:
        """Numbers (M,), or probabilities (M, classes)."""
        features = self.see(images)
        return getattr(self.model, "predict_proba", self.model.predict)(features)


def bootstrap(parts: list[np.ndarray], measure: Callable[..., float], seed: int = 0) -> list[float]:
    """A measure of some samples, and its 95 % interval over draws of each of them with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [measure(*(part[rng.integers(len(part), size=len(part))] for part in parts)) for _ in range(500)]
    return [float(number) for number in (measure(*parts), *np.percentile(drawn, [2.5, 97.5]))]


def sample(study: Study, conditions: list[dict], prefix: str, seed: int) -> np.ndarray:
    """Decoded samples, one for each set of conditions."""
    table = pd.DataFrame([BLANK | item for item in conditions])
    table["sample_id"] = [f"{prefix}-{i:04d}" for i in range(len(table))]
    settings = study.config.diffusion.sampling.model_copy(update={"seed": seed})
    parts = [table.iloc[i : i + 32] for i in range(0, len(table), 32)]
    return np.concatenate([study.decode(sample_tokens(study.dit, part, settings, CPU)) for part in parts])


def measure_control(study: Study, seed: int) -> dict:
    """Requested against null by class, and requested against read age; real held-out people beside them."""
    found, table = {}, study.volumes.table
    held_out = study.rows("held-out")
    null = sample(study, [{}] * N_SAMPLES, "null", seed)
    for name, column, classes in (("disease", "dx", DISEASES), ("sex", "sex", ("F", "M"))):
        judge = Judge(study, column, classes)
        order = list(judge.model.classes_)
        asked = {c: sample(study, [{name: c}] * N_SAMPLES, f"{name}-{c}", seed) for c in order}
        conditional = [judge.read(asked[c])[:, i] for i, c in enumerate(order)]
        base = judge.read(null)

        def gap(*parts: np.ndarray) -> float:
            *given, free = parts
            return float(np.mean([p.mean() - free[:, i].mean() for i, p in enumerate(given)]))

        known = held_out[table[column].iloc[held_out].isin(order)]
        real = judge.read(study.decode(study.tokens[known]))
        truth = table[column].iloc[known].to_numpy()
        found[name] = {
            "gap": bootstrap([*conditional, base], gap),
            "conditional": {c: float(p.mean()) for c, p in zip(order, conditional, strict=True)},
            "null": {c: float(base[:, i].mean()) for i, c in enumerate(order)},
            "real": {c: float(real[truth == c][:, i].mean()) for i, c in enumerate(order)},
            "real_accuracy": float(np.mean(np.array(order)[real.argmax(axis=1)] == truth)),
        }
    ages = np.linspace(25, 85, N_SAMPLES)
    judge = Judge(study, "age_years")
    read = judge.read(sample(study, [{"age_years": age} for age in ages], "age", seed))
    real = judge.read(study.decode(study.tokens[held_out]))
    pairs = np.stack([ages, read], axis=1)
    found["age"] = {
        "r": bootstrap([pairs], lambda p: float(np.corrcoef(p.T)[0, 1])),
        "real_r": float(np.corrcoef(table["age_years"].iloc[held_out], real)[0, 1]),
    }
    return found


# ---- counterfactuals ---------------------------------------------------------------------------------


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


# ---- forecasts ---------------------------------------------------------------------------------------


def measure_forecasts(study: Study, seed: int, folder: Path) -> dict:
    """The bridge's yearly change beside that of the true follow-ups, and with the years shuffled."""
    table, judge = study.volumes.table, Judge(study, "age_years")
    section = study.config.longitudinal.model_copy(update={"seed": seed})
    pairs, _ = list_pairs(table, section)
    is_training = pairs["split"] == "train"
    n = int(is_training.sum())
    section = section.model_copy(update={"optimiser": fit_steps(section.optimiser, "longitudinal", n)})
    is_first = pairs["volume_id"].str.endswith("-0")
    own = pairs[(pairs["split"] == "held-out") & is_first]
    own = own.sample(min(N_FORECAST, len(own)), random_state=seed).reset_index(drop=True)
    place = pd.Series(np.arange(len(table)), index=table["volume_id"])
    earlier, later = (place.loc[own[name]].to_numpy() for name in ("volume_id", "later_volume_id"))
    start = judge.read(study.decode(study.tokens[earlier]))
    truth, true_images = judge.read(study.decode(study.tokens[later])) - start, study.volumes.images[later]

    def slope(change: np.ndarray, years: np.ndarray) -> float:
        return float((change * years).sum() / (years**2).sum())

    found = {"n_training": n, "n": len(own)}
    both = np.stack([truth, own["years"]], axis=1)
    found["true_slope"] = bootstrap([both], lambda p: slope(p[:, 0], p[:, 1]))
    rng = np.random.default_rng(seed)
    for name in ("bridge", "shuffled"):
        given = pairs.copy()
        if name == "shuffled":
            given.loc[is_training, "years"] = rng.permutation(given.loc[is_training, "years"])
        (folder / f"{name}.csv").write_text(given.to_csv(index=False))
        ends = Ends(study.tokens, study.tokenizer.grid, given, table["volume_id"])
        weights = folder / f"{name}.safetensors"
        train_bridge(ends, section, folder / name, weights, [folder / f"{name}.csv"])
        bridge, options = load_model(Bridge, weights), section.forecast

        def forecast(years, bridge=bridge, options=options) -> np.ndarray:
            asked = own.assign(years=years)
            tokens = torch.from_numpy(study.tokens[earlier])
            return study.decode(forecast_tokens(bridge, tokens, asked, options))

        at_once = forecast(0.0)
        base = judge.read(at_once)
        changes = {years: judge.read(forecast(years)) - base for years in YEARS[1:]}
        stacked = np.stack(list(changes.values()), axis=1)  # (people, years)
        grid = np.array(list(changes))
        found[f"{name}_slope"] = bootstrap([stacked], lambda p, g=grid: slope(p.mean(axis=0), g))
        if name == "bridge":
            mask = study.volumes.masks[later].all(axis=0)
            images = forecast(own["years"]), study.decode(study.tokens[earlier])
            error, no_change = (np.abs(im - true_images)[:, mask].mean(axis=1) for im in images)
            found["gain"] = bootstrap([no_change - error], np.mean)
            found["no_change"] = float(no_change.mean())
    return found


def run_seed(seed: int, n_people: int, guidance: float, folder: Path) -> dict:
    """All figures of one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    people = draw_visits(n_people, seed)
    volumes = render_visits(people, seed)
    print(f"seed {seed}: {volumes.table['split'].value_counts().to_dict()} volumes", flush=True)
    config = load_config(ROOT / "config/demo.yaml")
    study = train_models(people, volumes, config, seed, folder)
    return {
        "seed": seed,
        "control": measure_control(study, seed),
        "counterfactuals": measure_counterfactuals(study, guidance),
        "forecasts": measure_forecasts(study, seed, folder),
    }


def describe_recipe(n_people: int) -> str:
    """The sizes that the figures hold for; the page is out of date where they have changed."""
    steps = ", ".join(f"{name} {n:,}" for name, n in N_STEPS.items())
    return f"Steps of training: {steps}. {n_people} people a seed, {N_SAMPLES} samples a class."


def main() -> int:
    """Run every seed, print the table and whether all holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", nargs="+", default=["fresh"], help=f"numbers, or a name: {', '.join(SEEDS)}"
    )
    parser.add_argument("--people", type=int, default=800)
    parser.add_argument("--guidance", type=float, default=1.0, help="of counterfactuals")
    parser.add_argument("--threads", type=int, default=count_cpus())
    parser.add_argument("--write", action="store_true", help="put the table into docs/generators.md")
    parser.add_argument("--work-dir", type=Path, help="keeps weights and figures, so that a run can resume")
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    set_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        work_dir = (options.work_dir or Path(scratch)) / f"people-{options.people}"
        found = []
        for seed in [seed for name in options.seeds for seed in SEEDS.get(name) or [int(name)]]:
            path = work_dir / f"seed-{seed}.json"
            if not path.exists():
                figures = run_seed(seed, options.people, options.guidance, work_dir / f"seed-{seed}")
                path.write_text(json.dumps(figures, indent=1) + "\n")
            found.append(json.loads(path.read_text()))
    text = format_table(found) + f"\n{describe_recipe(options.people)}\n"
    print(text)
    if options.write:
        DOC.write_text(f"{DOC.read_text().split(BEGIN)[0]}{BEGIN}\n\n{text}")
    return 0 if all(holds for item in found for _, _, holds in list_claims(item)) else 1


if __name__ == "__main__":
    sys.exit(main())
