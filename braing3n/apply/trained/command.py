"""The command line of what a person does with a model folder."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from braing3n.core.errors import BrainG3nError

Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the results.")]
Model = Annotated[
    str, Parameter(name=["--model", "-m"], help="Model folder, or an id on a hub (owner/name).")
]
Device = Literal["auto", "cpu", "cuda", "mps"]
Modality = Literal["T1", "T1c", "T2", "FLAIR"]


@Parameter(name="*")
@dataclass(frozen=True)
class Input:
    """How scans are read.

    Parameters
    ----------
    t1
        The T1 scan, whatever its name; with this and the next three all scans are of one visit.
    t1c
        The T1 scan after a contrast agent.
    t2
        The T2 scan.
    flair
        The FLAIR scan.
    modality
        Contrast of one scan whose name does not tell it.
    subject
        Id of the person; else that which names tell, or 01.
    session
        Id of the visit; else that which names tell, or none.
    stripped
        The scans hold the brain only.
    resources
        Folder of the atlas and networks that preprocessing needs.
    device
        Where the model computes; auto: the fastest there is.
    threads
        CPU threads.
    """

    t1: Path | None = None
    t1c: Path | None = None
    t2: Path | None = None
    flair: Path | None = None
    modality: Modality | None = None
    subject: str = ""
    session: str = ""
    stripped: Annotated[bool, Parameter(negative="")] = False
    resources: Path | None = None
    device: Device = "auto"
    threads: int = 0

    @property
    def by_modality(self) -> dict[str, Path]:
        """The scans whose contrast is said."""
        named = {"T1": self.t1, "T1c": self.t1c, "T2": self.t2, "FLAIR": self.flair}
        return {name: path for name, path in named.items() if path is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """How the flow is followed.

    Parameters
    ----------
    guidance
        Classifier-free guidance scale; else as the model was set.
    steps
        Euler steps; else as the model was set.
    seed
        Of the noise.
    """

    guidance: float | None = None
    steps: Annotated[int | None, Parameter(name="--steps")] = None
    seed: int | None = None

    def change(self, settings: Any) -> Any:
        """The model's settings of sampling with what the command line says."""
        from braing3n.core.settings import validate

        said = {"guidance": self.guidance, "n_steps": self.steps, "seed": self.seed}
        known = {name: value for name, value in said.items() if value is not None and hasattr(settings, name)}
        return validate(type(settings), settings.model_dump() | known, "options")


def encode(*scans: Path, model: Model, out: Out, tokens: bool = False, given: Input | None = None) -> int:
    """Write the features of scans: `braing3n encode scan.nii.gz --model folder -o out/`.

    Parameters
    ----------
    scans
        NIfTI files, a BIDS or loose folder of them, DICOM folders, or what `braing3n preprocess` left.
    tokens
        Write all tokens of each scan, too.
    """
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    found, warnings = find_scans(scans, opened, out, given)
    tasks.encode(opened, found, out, tokens, warnings)
    return finish(warnings, out)


def predict(*scans: Path, model: Model, out: Out, age: float = math.nan, given: Input | None = None) -> int:
    """Write what every probe of the model folder reads in scans: age and age gap, sex, disease and others.

    Parameters
    ----------
    scans
        As of `braing3n encode`.
    age
        The person's age in years at the scan; with it the age gap is given.
    """
    from braing3n.apply.trained.conditions import AGES_YEARS, check_range

    check_range("age", age, *AGES_YEARS)
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    found, warnings = find_scans(scans, opened, out, given, has_facts=age == age)
    tasks.predict(opened, found, out, age, warnings)
    return finish(warnings, out)


def reconstruct(*scans: Path, model: Model, out: Out, given: Input | None = None) -> int:
    """Write scans as the model's tokens hold them.

    Parameters
    ----------
    scans
        As of `braing3n encode`.
    """
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    found, warnings = find_scans(scans, opened, out, given)
    tasks.reconstruct(opened, found, out, warnings)
    return finish(warnings, out)


def generate(
    *,
    model: Model,
    out: Out,
    disease: str = "",
    sex: str = "",
    modality: Modality = "T1",
    site: str = "",
    age: float = math.nan,
    idh1: str = "",
    n: Annotated[int, Parameter(name="--n")] = 1,
    device: Device = "auto",
    threads: int = 0,
    sampling: Sampling | None = None,
) -> int:
    """Write synthetic scans: `braing3n generate --model folder -o out/ --disease AD --age 70 --sex F`.

    Parameters
    ----------
    disease
        Disease; what is not said is left open.
    sex
        F or M.
    modality
        Contrast.
    site
        Site of the training data.
    age
        Age in years.
    idh1
        IDH1 status of a tumour: wildtype or mutant.
    n
        How many.
    device
        Where the model computes; auto: the fastest there is.
    threads
        CPU threads.
    """
    from braing3n.apply.trained.conditions import Conditions

    if n < 1:
        raise BrainG3nError(f"--n {n}: give 1 or more.")
    opened = open_model(model, out, device, threads)

    from braing3n.apply.trained import tasks

    wanted = Conditions(disease, sex, modality, site, age, idh1)
    settings = (sampling or Sampling()).change(opened.sampling)
    warnings: list[str] = []
    tasks.generate(opened, wanted, n, settings, out, warnings)
    return finish(warnings, out)


def counterfactual(
    *scans: Path,
    model: Model,
    out: Out,
    disease: str = "",
    sex: str = "",
    age: float = math.nan,
    own_disease: str = "",
    own_sex: str = "",
    own_age: float = math.nan,
    strength: float = 1.0,
    given: Input | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Write a person's scan under another condition: `... --own-disease HC --disease AD`.

    Parameters
    ----------
    scans
        As of `braing3n encode`.
    disease
        The disease to change to; what is not said stays.
    sex
        The sex to change to.
    age
        The age to change to, in years.
    own_disease
        The person's disease; what is not said is left open.
    own_sex
        The person's sex.
    own_age
        The person's age in years.
    strength
        Of the change: 0 changes nothing, 1 is the model's, more exaggerates.
    """
    from braing3n.apply.trained.conditions import Conditions

    own = Conditions(disease=own_disease, sex=own_sex, age_years=own_age)
    new = Conditions(disease=disease, sex=sex, age_years=age)
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    tasks.check_change(opened, own, new, strength)
    settings = (sampling or Sampling()).change(opened.sampling)
    found, warnings = find_scans(scans, opened, out, given, has_facts=bool(own.describe()))
    tasks.counterfactual(opened, found, own, new, strength, settings, out, warnings)
    return finish(warnings, out)


def forecast(
    *scans: Path,
    model: Model,
    out: Out,
    disease: str,
    years: Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="")] = (1.0, 2.0, 5.0),
    age: float = math.nan,
    sex: str = "",
    cdr: float = math.nan,
    given: Input | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Write a person's scan some years on: `braing3n forecast scan.nii.gz ... --disease MCI --years 1 2 5`.

    Parameters
    ----------
    scans
        As of `braing3n encode`.
    disease
        The person's disease at the scan.
    years
        After the scan.
    age
        The person's age in years at the scan.
    sex
        F or M.
    cdr
        Clinical Dementia Rating at the scan.
    """
    own = {"disease": disease, "sex": sex, "age_years": age, "cdr": cdr}
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    tasks.check_years(opened, own, years)
    settings = (sampling or Sampling()).change(opened.forecast)
    found, warnings = find_scans(scans, opened, out, given, has_facts=True)
    tasks.forecast(opened, found, own, years, settings, out, warnings)
    return finish(warnings, out)


def find_app(name: str) -> App:
    """The application of one of these commands."""
    function = globals()[name]
    app = App(name=f"braing3n {name}", help=function.__doc__.splitlines()[0])
    app.default(function)
    return app


def open_model(model: str, out: Path, device: str, threads: int) -> Any:
    """Load a model folder, and make the folder of the results.

    What was mistyped is reported before PyTorch is loaded, which takes seconds.
    """
    from braing3n.core.runtime import count_cpus, make_folder, set_threads
    from braing3n.export.files import find_folder

    folder = find_folder(model)
    set_threads(threads or count_cpus())
    from braing3n.export.pretrained import from_pretrained

    opened = from_pretrained(folder, device)
    make_folder(out)
    return opened


def open_for_scans(scans: tuple[Path, ...], model: str, out: Path, given: Input | None) -> Any:
    """Load a model folder, once it is known that scans are named and there."""
    given = given or Input()
    if not scans and not given.by_modality:
        raise BrainG3nError("name a scan: a NIfTI, a BIDS folder, a DICOM folder, or preprocessed volumes.")
    for path in (*scans, *given.by_modality.values()):
        if not path.exists():
            raise BrainG3nError(f"{path}: there is no such file or folder.")
    return open_model(model, out, given.device, given.threads)


def find_scans(
    scans: tuple[Path, ...], opened: Any, out: Path, given: Input | None, has_facts: bool = False
) -> tuple[list, list[str]]:
    """Bring the scans to SRI24; warnings name those that came to nothing."""
    from braing3n.apply.trained.scans import Given, open_scans

    given = given or Input()
    request = Given(
        scans,
        given.by_modality,
        given.modality or "",
        given.subject,
        given.session,
        given.stripped,
        given.resources,
        has_facts=has_facts,
    )
    return open_scans(request, opened.preprocess, out)


def finish(warnings: list[str], out: Path) -> int:
    """Print warnings and where the results are."""
    from braing3n.apply.trained.outputs import RESEARCH_ONLY

    for warning in dict.fromkeys(warnings):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"results in {out}. {RESEARCH_ONLY}")
    return 0
