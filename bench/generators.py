"""What the generators learn on phantoms, fresh seeds: control, counterfactuals and forecasts.

Half of the people train the models (the sizes of the demo), a quarter fits the judges, and a quarter is held
out: the judges are scored on them, and they are changed and forecast. A judge is a linear probe on decoded
volumes. A counterfactual is compared with the truth: the same phantom rendered with the changed trait, all
else equal. The DiT and the bridge each have their own seeds and people.
Prints a table for each, and exits 1 where a claim fails. A killed run resumes where --work-dir is given; give
another after a change of code.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs/generators.md"
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402

set_threads(count_cpus())  # before torch is loaded

from generators_parts.claims import format_table, list_claims  # noqa: E402
from generators_parts.control import N_SAMPLES, measure_control  # noqa: E402
from generators_parts.counterfactuals import measure_counterfactuals  # noqa: E402
from generators_parts.forecasts import measure_forecasts  # noqa: E402
from generators_parts.study import N_STEPS, train_models  # noqa: E402
from generators_parts.visits import draw_visits, render_visits  # noqa: E402

from braing3n.config import load_config  # noqa: E402


@dataclass(frozen=True)
class Part:
    """The seeds and the people that a generator is reported on, and the models that are trained."""

    seeds: tuple[int, ...]
    n_people: int
    models: tuple[str, ...]

    def describe(self) -> str:
        """The recipe that the figures hold for; the page is out of date where it has changed."""
        steps = ", ".join(f"{name} {N_STEPS[name]:,}" for name in self.models)
        samples = f", {N_SAMPLES} samples a class" if "diffusion" in self.models else ""
        return f"Steps of training: {steps}. {self.n_people:,} people a seed{samples}."


ENCODER = ("pretrain", "tokenizer")
PARTS = {
    "diffusion": Part((11, 12, 13), 800, (*ENCODER, "diffusion")),
    "longitudinal": Part((14, 15, 16), 1600, (*ENCODER, "longitudinal")),
}


def run_seed(name: str, seed: int, n_people: int, guidance: float, folder: Path) -> dict:
    """All figures of one seed for one generator."""
    folder.mkdir(parents=True, exist_ok=True)
    people = draw_visits(n_people, seed)
    volumes = render_visits(people, seed)
    print(f"{name}, seed {seed}: {volumes.table['split'].value_counts().to_dict()} volumes", flush=True)
    config = load_config(ROOT / "config/demo.yaml")
    study = train_models(people, volumes, config, seed, folder, has_dit=name == "diffusion")
    if name == "longitudinal":
        return {"seed": seed, "forecasts": measure_forecasts(study, seed, folder)}
    return {
        "seed": seed,
        "control": measure_control(study, seed),
        "counterfactuals": measure_counterfactuals(study, guidance),
    }


def put_table(page: str, name: str, text: str) -> str:
    """The page with another table of one generator."""
    begin, end = f"<!-- {name}: bench/generators.py --write -->", f"<!-- end of {name} -->"
    found = re.subn(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}\n{end}", page, flags=re.DOTALL)
    if found[1] != 1:
        raise SystemExit(f"{DOC}: has no place for the table of {name}")
    return found[0]


def main() -> int:
    """Run the seeds of each generator, print the tables and whether all holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: the fresh ones of each part")
    parser.add_argument("--people", type=int, help="default: the number of each part")
    parser.add_argument("--guidance", type=float, default=1.0, help="of counterfactuals")
    parser.add_argument("--threads", type=int, default=count_cpus())
    parser.add_argument("--write", action="store_true", help="put the tables into docs/generators.md")
    parser.add_argument("--work-dir", type=Path, help="keeps weights and figures, so that a run can resume")
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    set_threads(options.threads)
    are_met = True
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.parts:
            part = PARTS[name]
            part = Part(tuple(options.seeds or part.seeds), options.people or part.n_people, part.models)
            work_dir = (options.work_dir or Path(scratch)) / f"{name}-{part.n_people}"
            found = []
            for seed in part.seeds:
                path = work_dir / f"seed-{seed}.json"
                if not path.exists():
                    folder = work_dir / f"seed-{seed}"
                    figures = run_seed(name, seed, part.n_people, options.guidance, folder)
                    path.write_text(json.dumps(figures, indent=1) + "\n")
                found.append(json.loads(path.read_text()))
            text = f"{format_table(found)}\n{part.describe()}\n"
            print(f"{name}\n\n{text}", flush=True)
            if options.write:
                DOC.write_text(put_table(DOC.read_text(), name, text))
            are_met &= all(holds for item in found for _, _, holds in list_claims(item))
    return 0 if are_met else 1


if __name__ == "__main__":
    sys.exit(main())
