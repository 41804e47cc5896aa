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
    table: Path,
    distances: Path,
    coarse: Path | None = None,
    volumes_dir: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Find each sample's nearest training latent, and each training latent's nearest other person.

    Parameters
    ----------
    tokens
        Cached latents (npy), rows in the volume list's order.
    samples
        Samples (npz with tokens).
    table
        The samples' conditions.
    distances
        Table to write.
    coarse
        Decoded samples and reconstructions on coarse voxels (npz); with these and `volumes_dir` the copy
        detector's `copies.parquet` and `nearest.png` are written beside the table.
    volumes_dir
        Folder of the packed volumes, for the copy detector.
    settings
        JSON of the section `memorization`, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section
    from braing3n.memorization.settings import MemorizationSettings

    section = parse_section(MemorizationSettings, settings)
    set_threads(threads)
    import numpy as np
    import pandas as pd

    from braing3n.core.contracts import read_table, write_table
    from braing3n.memorization.audit import audit_samples
    from braing3n.memorization.contracts import MEMORIZATION
    from braing3n.volumes.contracts import VOLUME_LIST

    with np.load(samples) as file:
        sampled = file["tokens"]
    volumes, conditions = read_table(volume_list, VOLUME_LIST), pd.read_parquet(table)
    latents = np.load(tokens, mmap_mode="r")
    write_table(audit_samples(latents, volumes, sampled, conditions, section), distances, MEMORIZATION)
    if coarse is not None and volumes_dir is not None:
        _write_copies(coarse, conditions, volume_list, volumes_dir, distances.parent, section)


def _write_copies(coarse: Path, conditions, volume_list: Path, volumes_dir: Path, out_dir: Path, section):
    """The copy detector's table, and a picture of the nearest pairs."""
    import numpy as np

    from braing3n.core.contracts import write_table
    from braing3n.memorization.contracts import COPIES
    from braing3n.memorization.detect import detect_copies, draw_nearest
    from braing3n.volumes.dataset import PackedVolumes

    packed = PackedVolumes(volume_list, volumes_dir)
    with np.load(coarse) as file:
        decoded = dict(file)
    found = detect_copies(decoded, conditions, packed, section)
    write_table(found, out_dir / "copies.parquet", COPIES)
    draw_nearest(found, decoded["samples"], conditions, packed, out_dir / "nearest.png")
