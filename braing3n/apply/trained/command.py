"""The command line of the commands on a model folder."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from braing3n.core.errors import BrainG3nError, show_text
from braing3n.core.options import Count, Number, Seed, parse_whole

Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the results.")]
Model = Annotated[
    str, Parameter(name=["--model", "-m"], help="Model folder, or an id on a hub (owner/name).")
]
Device = Literal["auto", "cpu", "cuda", "mps"]
Scale = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=100))]
Steps = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=1, lte=10_000))]
Images = Annotated[
    int, Parameter(name="--n", converter=parse_whole, validator=validators.Number(gte=1, lte=100_000))
]
Modality = Literal["T1", "T1c", "T2", "FLAIR"]


@Parameter(name="*")
@dataclass(frozen=True)
class Input:
    """How scans are read, and where the model computes.

    Parameters
    ----------
    t1
        The T1 scan, with any name; with this option or the next three all scans are of one visit.
    t1c
        The T1 scan after a contrast agent.
    t2
        The T2 scan.
    flair
        The FLAIR scan.
    modality
        Contrast of one scan, whatever its name.
    subject
        Id of the person; default: from file names, else 01.
    session
        Id of the visit; default: from file names, else none.
    stripped
        The scans are skull-stripped.
    resources
        Folder of the atlas and networks that preprocessing needs.
    device
        Device of the model; auto: the fastest one.
    threads
        CPU threads, and visits that are preprocessed at once; 0: all CPUs, and one visit.
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
    threads: Count = 0

    @property
    def by_modality(self) -> dict[str, Path]:
        """The scans whose contrast is given."""
        named = {"T1": self.t1, "T1c": self.t1c, "T2": self.t2, "FLAIR": self.flair}
        return {name: path for name, path in named.items() if path is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """How the generators are sampled.

    Parameters
    ----------
    guidance
        Classifier-free guidance scale; default: that of the model folder.
    steps
        Steps of the solver; default: those of the model folder.
    """

    guidance: Scale | None = None
    steps: Steps | None = None

    def change(self, settings: Any, **more: Any) -> Any:
        """The model folder's settings of sampling with the changes of the command line."""
        from braing3n.core.settings import validate

        given = {"guidance": self.guidance, "n_steps": self.steps, **more}
        known = {name: value for name, value in given.items() if value is not None}
        return validate(type(settings), settings.model_dump() | known, "options")


def encode(*scans: Path, model: Model, out: Out, tokens: bool = False, given: Input | None = None) -> int:
    """Write the features of scans: `braing3n encode scan.nii.gz --model folder -o out/`.

    Parameters
    ----------
    scans
        NIfTI files, a folder of them (BIDS or not), DICOM folders, or results of `braing3n preprocess`.
    tokens
        Write all tokens of each scan, too.
    """
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    found, warnings = find_scans(scans, opened, out, given)
    tasks.encode(opened, found, out, tokens, warnings)
    return finish(warnings, out)


def predict(*scans: Path, model: Model, out: Out, age: Number = math.nan, given: Input | None = None) -> int:
    """Write the predictions of every probe of the model folder: age and age gap, sex, disease and others.

    Parameters
    ----------
    scans
        As in `braing3n encode`.
    age
        The person's age in years at the scan, for the age gap.
    """
    from braing3n.apply.trained.conditions import AGES_YEARS, check_range

    check_range("age", age, *AGES_YEARS)
    opened = open_for_scans(scans, model, out, given)

    from braing3n.apply.trained import tasks

    found, warnings = find_scans(scans, opened, out, given, has_facts=age == age)
    tasks.predict(opened, found, out, age, warnings)
    return finish(warnings, out)


def reconstruct(*scans: Path, model: Model, out: Out, given: Input | None = None) -> int:
    """Write the reconstructions of scans from the model's tokens.

    Parameters
    ----------
    scans
        As in `braing3n encode`.
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
    age: Number = math.nan,
    idh1: str = "",
    n: Images = 1,
    seed: Seed | None = None,
    device: Device = "auto",
    threads: Count = 0,
    sampling: Sampling | None = None,
) -> int:
    """Write synthetic scans: `braing3n generate --model folder -o out/ --disease AD --age 70 --sex F`.

    Parameters
    ----------
    disease
        Disease; a condition without an option is left open.
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
        Number of scans.
    seed
        Seed of the noise that the scans are made from; default: that of the model folder.
    device
        Device of the model; auto: the fastest one.
    threads
        CPU threads; 0: all CPUs that this process may use.
    """
    from braing3n.apply.trained.conditions import Conditions

    opened = open_model(model, out, device, threads)

    from braing3n.apply.trained import tasks

    wanted = Conditions(disease, sex, modality, site, age, idh1)
    settings = (sampling or Sampling()).change(opened.sampling, seed=seed)
    warnings: list[str] = []
    tasks.generate(opened, wanted, n, settings, out, warnings)
    return finish(warnings, out)


def counterfactual(
    *scans: Path,
    model: Model,
    out: Out,
    disease: str = "",
    sex: str = "",
    age: Number = math.nan,
    site: str = "",
    idh1: str = "",
    own_disease: str = "",
    own_sex: str = "",
    own_age: Number = math.nan,
    own_site: str = "",
    own_idh1: str = "",
    strength: float = 1.0,
    given: Input | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Write a person's scan under another condition: `... --own-disease HC --disease AD`.

    Parameters
    ----------
    scans
        As in `braing3n encode`.
    disease
        The new disease; a condition without an option is not changed.
    sex
        The new sex.
    age
        The new age in years.
    site
        The new site, one of the training data.
    idh1
        The new IDH1 status of a tumour: wildtype or mutant.
    own_disease
        The person's disease; a condition without an option is left open.
    own_sex
        The person's sex.
    own_age
        The person's age in years.
    own_site
        The scan's site, if it is one of the training data.
    own_idh1
        The IDH1 status of the person's tumour.
    strength
        Strength of the change: 0 changes nothing, 1 is the model's change, more exaggerates it.
    """
    from braing3n.apply.trained.conditions import Conditions

    own = Conditions(own_disease, own_sex, "", own_site, own_age, own_idh1)
    new = Conditions(disease, sex, "", site, age, idh1)
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
    age: Number = math.nan,
    sex: str = "",
    cdr: Number = math.nan,
    given: Input | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Write forecasts of a person's scan: `braing3n forecast scan.nii.gz ... --disease MCI --years 1 2 5`.

    Parameters
    ----------
    scans
        As in `braing3n encode`.
    disease
        The person's disease at the scan.
    years
        Years after the scan, one forecast for each.
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

    A mistyped path is reported before PyTorch is loaded, which takes seconds.
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
    """Load a model folder, after a check that scans are named and exist."""
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
    """Bring the scans to SRI24; warnings name those without a volume."""
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
        n_workers=max(1, given.threads),
        has_facts=has_facts,
    )
    return open_scans(request, opened.preprocess, out)


def finish(warnings: list[str], out: Path) -> int:
    """Print the warnings and the folder of the results."""
    from braing3n.apply.trained.outputs import RESEARCH_ONLY

    for warning in dict.fromkeys(warnings):
        print(show_text(f"warning: {warning}"), file=sys.stderr)
    print(f"results in {out}. {RESEARCH_ONLY}")
    return 0
