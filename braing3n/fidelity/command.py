"""The command line of the fidelity stage."""

from pathlib import Path

from cyclopts import App

from braing3n.options import Labels, Threads

app = App(name="fidelity", help="Fréchet distances of samples on our encoder's features.")


@app.command
def measure(
    *,
    samples: Path,
    table: Path,
    encoder: Path,
    tokenizer: Path,
    features: Path,
    labels: Labels,
    distances: Path,
    tokens: Path | None = None,
    settings: str = "{}",
    threads: Threads = 1,
):
    """Decode samples, encode them again, and hold them against real volumes arm by arm.

    Parameters
    ----------
    samples
        Samples (npz with tokens).
    table
        The samples' conditions.
    encoder
        Weights of the encoder.
    tokenizer
        Weights of the tokenizer.
    features
        The encoder's features of the real volumes (npz).
    distances
        Table to write.
    tokens
        Cached latents of the real volumes; with them reconstructions are measured, too.
    settings
        JSON of the section `fidelity`, or a configuration file.
    """
    from braing3n.runtime import set_threads

    set_threads(threads)
    import numpy as np
    import pandas as pd

    from braing3n.config import FidelitySettings, parse_section
    from braing3n.contracts import read_table, write_table
    from braing3n.fidelity.encode import encode_decoded
    from braing3n.fidelity.measure import measure_arms
    from braing3n.pretrain.model import load_encoder
    from braing3n.probe.plan import load_features
    from braing3n.tokenizer.model import load_tokenizer

    section, labelled = parse_section(FidelitySettings, settings), read_table(labels, "labels")
    models = load_encoder(encoder), load_tokenizer(tokenizer), section
    generated = encode_decoded(np.load(samples)["tokens"], *models, "samples")
    real_tokens = None if tokens is None else np.load(tokens, mmap_mode="r")
    reconstructed = tokens and encode_decoded(real_tokens, *models, "reconstructions")
    real, conditions = load_features(features, labelled), pd.read_parquet(table)
    measured = measure_arms(generated, conditions, real, reconstructed, labelled, section)
    write_table(measured, distances, "distances")
