"""The command line of `export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from braing3n.core.options import Labels, Threads

app = App(name="braing3n export", help="Write a run's model folder, or a MONAI bundle of one.")
Maybe = Annotated[Path | None, Parameter(negative="")]


@app.command
def folder(
    *,
    out: Path,
    encoder: Path,
    tokenizer: Path,
    features: Path,
    labels: Labels,
    scores: Path,
    predictions: Path,
    settings_dir: Path,
    dit: Maybe = None,
    bridge: Maybe = None,
    masked_loss: Maybe = None,
    metrics: Maybe = None,
    judged: Maybe = None,
    threads: Threads = 1,
) -> None:
    """Write the model folder of a run.

    Parameters
    ----------
    out
        Folder to write.
    encoder
        The encoder's weight file.
    tokenizer
        The tokenizer's weight file.
    features
        Our encoder's features (.npz), rows as in the label table.
    scores
        The table of probes' scores (.parquet).
    predictions
        Our encoder's predictions out of fold (.parquet).
    settings_dir
        Folder of the run's settings files.
    dit
        The DiT's weight file.
    bridge
        The bridge's weight file; one that holds a reason only is left out.
    masked_loss
        The encoder's loss beside its baselines (.parquet), for the card.
    metrics
        The tokenizer's metrics (.json), for the card.
    judged
        What probes read in samples (.parquet), for the card.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.diffusion.settings import SamplingSettings
    from braing3n.export.folder import Sources, write_folder
    from braing3n.export.settings import ExportSettings
    from braing3n.longitudinal.settings import ForecastSettings
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.probe.settings import ProbeSettings
    from braing3n.volumes.settings import VolumesSettings

    kinds = {
        "preprocess": ("preprocess", PreprocessSettings),
        "volumes": ("volumes", VolumesSettings),
        "sampling": ("diffusion.sampling", SamplingSettings),
        "forecast": ("longitudinal.forecast", ForecastSettings),
        "probe": ("probe", ProbeSettings),
    }
    sections = {
        name: parse_section(kind, settings_dir / f"{file}.json") for name, (file, kind) in kinds.items()
    }
    own = parse_section(ExportSettings, settings_dir / "export.json")
    sources = Sources(
        encoder, tokenizer, dit, bridge, features, labels, scores, predictions, masked_loss, metrics, judged
    )
    write_folder(sources, own, sections, out)
