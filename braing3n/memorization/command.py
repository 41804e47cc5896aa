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
        Forecasts of held-out people (npz with tokens), which are audited as samples are; the table of that
        name beside them says whose they are, and of which years.
    others
        Decoded samples of MCI and PD on coarse voxels (npz), beside `samples.npz` and `samples.parquet`; they
        are audited as samples are, under a name of their own.
    settings
        JSON of the section `memorization`, or a configuration file.
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
    from braing3n.memorization.detect import Others
    from braing3n.memorization.membership import infer_membership
    from braing3n.volumes.contracts import VOLUME_LIST

    coarse, forecasts, others = files
    others = Others.open(others) if others is not None else None
    with np.load(samples) as file:
        sampled = file["tokens"]
    volumes, conditions = (
        read_table(volume_list, VOLUME_LIST),
        pd.read_parquet(samples.with_suffix(".parquet")),
    )
    latents = np.load(tokens, mmap_mode="r")
    more = _list_more(coarse, forecasts, others, volumes)
    write_table(audit_samples(latents, volumes, sampled, conditions, section, more), distances, MEMORIZATION)
    found = infer_membership(latents, volumes, sampled, conditions, section)
    if others is not None and len(others.table):
        theirs = infer_membership(latents, volumes, others.tokens, others.table, section)
        theirs = theirs[theirs["comparison"] == "samples"].assign(comparison="other arms")
        found = pd.concat([found, theirs], ignore_index=True)
    write_table(found, distances.with_name("membership.parquet"), MEMBERSHIP)
    if coarse is not None and volumes_dir is not None:
        folders = volume_list, volumes_dir, distances.parent
        _write_copies(coarse, conditions, others, *folders, section, threads)


def _list_more(coarse: Path | None, forecasts: Path | None, others, volumes):
    """What is audited beside samples: those of MCI and PD, reconstructions as if nobody's, and forecasts.

    A 0-year forecast is the person's own visit, and is left out.
    """
    import numpy as np

    from braing3n.core.contracts import read_table
    from braing3n.longitudinal.contracts import FORECASTS

    more = {}
    if others is not None:
        more["other-arms-real"] = others.tokens, others.list_items()
    if coarse is not None:
        with np.load(coarse) as file:
            is_train, items = _list_rebuilt(file["reconstructions_rows"], volumes)
            more["reconstructed-real"] = file["reconstructions_tokens"][is_train], items
    if forecasts is not None:
        table = read_table(forecasts.with_suffix(".parquet"), FORECASTS)
        is_later = (table["years"] > 0).to_numpy()
        modality = volumes.set_index("volume_id")["modality"].reindex(table["volume_id"]).to_numpy()
        items = table.rename(columns={"forecast_id": "item_id"}).drop(columns="volume_id")
        with np.load(forecasts) as file:
            more["forecast-real"] = file["tokens"][is_later], items.assign(modality=modality)[is_later]
    return more


def _list_rebuilt(rows, volumes):
    """Which reconstructions, of so many rows, are of training volumes (n,), and these as if nobody's."""
    is_train = (volumes["split"].iloc[rows] == "train").to_numpy()
    items = volumes.iloc[rows[is_train]].assign(person_id="", group_id="")
    return is_train, items.rename(columns={"volume_id": "item_id"})


def _write_copies(
    coarse: Path, conditions, others, volume_list: Path, volumes_dir: Path, out_dir: Path, section, threads
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
        decoded = dict(file)
    planted = plant_copies(
        packed.table, lambda row: load_coarse(packed, row), section.n_planted, section.seed
    )
    found = detect_copies(decoded, conditions, packed, section, others, planted)
    asked = {"correlation over shifts and mirrors": read_correlations(found)}
    found = found[found["comparison"] != PLANTED_COPIES]
    draw_nearest(found, decoded["samples"], conditions, packed, out_dir / "nearest.png")
    asked |= _write_contrastive(decoded, conditions, others, packed, planted, out_dir, section, threads)
    table = tabulate_planted(asked, planted.table, section.percentile, section.seed)
    write_table(table, out_dir / "planted.parquet", PLANTED)
    write_table(found, out_dir / "copies.parquet", COPIES)


def _write_contrastive(decoded, conditions, others, packed, planted, out_dir: Path, section, threads) -> dict:
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
        is_train, items = _list_rebuilt(decoded["reconstructions_rows"], volumes)
        more = {"reconstructed-real": (decoded["reconstructions"][is_train], items)}
        if others is not None:
            more["other-arms-real"] = others.coarse, others.list_items()
        found = audit_codes(detector, volumes, decoded["samples"], conditions, section, more)
        write_table(found, path, MEMORIZATION)
        return ask_detectors(detector, volumes, planted.volumes, planted.table)
