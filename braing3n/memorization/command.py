"""The command line of the memorization audit."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Threads, VolumeList

app = App(name="braing3n memorization", help="Whether samples are copies of training volumes.")


@app.command
def measure(
    *,
    tokens: Path,
    volume_list: VolumeList,
    samples: Path,
    distances: Path,
    coarse: Path | None = None,
    volumes_dir: Path | None = None,
    forecasts: Path | None = None,
    others: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Find each sample's nearest training latent, and each training latent's nearest other person.

    Parameters
    ----------
    tokens
        Cached latents (npy), rows in the volume list's order.
    samples
        Samples (npz with tokens); the table of that name beside them holds their conditions.
    distances
        Table to write, and beside it `membership.parquet`.
    coarse
        Decoded samples and reconstructions on coarse voxels (npz), with the latents that reconstructions
        encode to; with these and `volumes_dir` the copy detectors' `copies.parquet`, `contrastive.parquet`
        and `planted.parquet`, and `nearest.png`, are written beside the table.
    volumes_dir
        Folder of the packed volumes, for the copy detectors.
    forecasts
        Decoded forecasts on coarse voxels (npz), beside `forecasts.npz` and `forecasts.parquet`, which says
        whose they are and of which years; those later than 0 years are audited as samples are.
    others
        Decoded samples of MCI and PD on coarse voxels (npz), beside `samples.npz` and `samples.parquet`; they
        are audited as samples are, under a name of their own.
    settings
        The section `memorization`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section
    from braing3n.memorization.settings import MemorizationSettings

    section = parse_section(MemorizationSettings, settings)
    set_threads(threads)
    files = coarse, forecasts, others
    _measure(tokens, volume_list, samples, distances, volumes_dir, files, section, threads)


def _measure(tokens, volume_list, samples, distances, volumes_dir, files, section, threads):
    """Every audit that the command is given the files of."""
    import numpy as np
    import pandas as pd

    from braing3n.core.contracts import read_table, write_table
    from braing3n.memorization.audit import audit_samples
    from braing3n.memorization.contracts import MEMBERSHIP, MEMORIZATION
    from braing3n.memorization.membership import infer_membership
    from braing3n.volumes.contracts import VOLUME_LIST

    with np.load(samples) as file:
        sampled = file["tokens"]
    volumes, conditions = (
        read_table(volume_list, VOLUME_LIST),
        pd.read_parquet(samples.with_suffix(".parquet")),
    )
    coarse, forecasts, others = files
    latents, beside = np.load(tokens, mmap_mode="r"), _open_beside(coarse, forecasts, others, volumes)
    more = {name: (one.tokens.read(), one.items) for name, one in beside.items()}
    write_table(audit_samples(latents, volumes, sampled, conditions, section, more), distances, MEMORIZATION)
    found = infer_membership(latents, volumes, sampled, conditions, section)
    more_arms = beside.get("other-arms-real")
    if more_arms is not None and len(more_arms.items):
        theirs = infer_membership(latents, volumes, more_arms.tokens.read(), more_arms.items, section)
        theirs = theirs[theirs["comparison"] == "samples"].assign(comparison="other arms")
        found = pd.concat([found, theirs], ignore_index=True)
    write_table(found, distances.with_name("membership.parquet"), MEMBERSHIP)
    if coarse is not None and volumes_dir is not None:
        folders = volume_list, volumes_dir, distances.parent
        _write_copies(coarse, conditions, beside, *folders, section, threads)


def _open_beside(coarse: Path | None, forecasts: Path | None, others: Path | None, volumes) -> dict:
    """What is audited beside samples, by comparison."""
    from braing3n.memorization.other_volumes import open_forecasts, open_other_arms, open_reconstructions

    found = {}
    if coarse is not None:
        found["reconstructed-real"] = open_reconstructions(coarse, volumes)
    if others is not None:
        found["other-arms-real"] = open_other_arms(others)
    if forecasts is not None:
        found["forecast-real"] = open_forecasts(forecasts, volumes)
    return found


def _write_copies(
    coarse: Path, conditions, beside, volume_list: Path, volumes_dir: Path, out_dir: Path, section, threads
):
    """The tables of both copy detectors, what they find of planted copies, and a picture of nearest pairs."""
    import numpy as np

    from braing3n.core.contracts import write_table
    from braing3n.memorization.contracts import COPIES, PLANTED
    from braing3n.memorization.copies import PLANTED_COPIES
    from braing3n.memorization.detect import detect_copies, draw_nearest, load_coarse
    from braing3n.memorization.planted import plant_copies, read_correlations, tabulate_planted
    from braing3n.volumes.dataset import PackedVolumes

    packed = PackedVolumes(volume_list, volumes_dir)
    with np.load(coarse) as file:
        samples = file["samples"]
    more = {name: (one.volumes.read(), one.items) for name, one in beside.items()}
    planted = plant_copies(
        packed.table, lambda row: load_coarse(packed, row), section.n_planted, section.seed
    )
    found = detect_copies(samples, conditions, packed, section, more, planted)
    asked = {"correlation over shifts and mirrors": read_correlations(found)}
    found = found[found["comparison"] != PLANTED_COPIES]
    draw_nearest(found, samples, conditions, packed, out_dir / "nearest.png")
    asked |= _write_contrastive(samples, conditions, more, packed, planted, out_dir, section, threads)
    table = tabulate_planted(asked, planted.table, section.percentile, section.seed)
    write_table(table, out_dir / "planted.parquet", PLANTED)
    write_table(found, out_dir / "copies.parquet", COPIES)


def _write_contrastive(samples, conditions, more, packed, planted, out_dir: Path, section, threads) -> dict:
    """The audit on codes of a network that is trained here; what it and its rivals find of planted copies."""
    import pandas as pd

    from braing3n.core.contracts import write_table
    from braing3n.memorization.contracts import MEMORIZATION
    from braing3n.memorization.contrastive.audit import ask_detectors, audit_codes, open_detector
    from braing3n.memorization.contrastive.train import CoarseSource
    from braing3n.training import count_workers

    path, volumes = out_dir / "contrastive.parquet", packed.table
    if not section.contrastive.is_on or not (volumes["split"] == "train").any():
        write_table(pd.DataFrame(columns=list(MEMORIZATION)), path, MEMORIZATION)
        return {}
    source = CoarseSource.of_packed(packed, count_workers(threads))
    weights = out_dir / "contrastive.safetensors"
    with open_detector(source, section.contrastive, out_dir / "checkpoints", weights) as detector:
        found = audit_codes(detector, volumes, samples, conditions, section, more)
        write_table(found, path, MEMORIZATION)
        return ask_detectors(detector, volumes, planted.volumes, planted.table)
