"""The command line of `export`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from braing3n.core.options import Threads

app = App(name="braing3n export", help="Write a run's model folder, and a MONAI bundle of it.")


@app.default
def convert(
    *,
    model: Annotated[str, Parameter(name=["--model", "-m"])],
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    form: Annotated[Literal["monai"], Parameter(name="--format")] = "monai",
) -> None:
    """Write a model folder in another form: a MONAI bundle, which runs its own inference.

    Parameters
    ----------
    model
        Model folder, or an id on a hub (owner/name).
    out
        Folder of the bundle to write.
    form
        What to write.
    """
    from braing3n.export.monai_bundle import write_bundle

    write_bundle(model, out)


@app.command
def folder(*, results: Path, out: Path, threads: Threads = 1) -> None:
    """Write the model folder of a run: weights, probes as coefficients, statistics, configuration and card.

    Parameters
    ----------
    results
        The run's results folder, such as results/demo.
    out
        Folder to write.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import Settings, parse_section
    from braing3n.diffusion.settings import SamplingSettings
    from braing3n.export.folder import find_sources, write_folder
    from braing3n.export.settings import ExportSettings
    from braing3n.longitudinal.settings import ForecastSettings
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.probe.settings import ProbeSettings
    from braing3n.volumes.settings import VolumesSettings

    kinds: dict[str, type[Settings]] = {
        "preprocess": PreprocessSettings,
        "volumes": VolumesSettings,
        "diffusion.sampling": SamplingSettings,
        "longitudinal.forecast": ForecastSettings,
        "probe": ProbeSettings,
    }
    read = {name: parse_section(kind, results / "settings" / f"{name}.json") for name, kind in kinds.items()}
    own = parse_section(ExportSettings, results / "settings" / "export.json")
    sections = {name.rpartition(".")[2]: section for name, section in read.items()}
    write_folder(find_sources(results), own, sections, out)
