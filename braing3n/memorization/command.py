"""The command line of the memorization audit."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Threads, VolumeList

app = App(name="braing3n memorization", help="Nearest-neighbour audit of samples against training latents.")


@app.command
def measure(
    *,
    tokens: Path,
    volume_list: VolumeList,
    samples: Path,
    table: Path,
    distances: Path,
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
