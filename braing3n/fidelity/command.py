"""The command line of the fidelity stage."""

from pathlib import Path

from cyclopts import App

app = App(name="fidelity", help="Fréchet distances of samples on our encoder's features.")


@app.command
def measure(
    *,
    samples: Path,
    table: Path,
    encoder: Path,
    tokenizer: Path,
    features: Path,
    labels: Path,
    distances: Path,
    tokens: Path | None = None,
    settings: str = "{}",
    threads: int = 1,
):
    """Decode samples, encode them again, and hold them against real volumes arm by arm.

    Parameters
    ----------
    samples: samples (npz with tokens).
    table: the samples' conditions.
    encoder: weights of the encoder.
    tokenizer: weights of the tokenizer.
    features: the encoder's features of the real volumes (npz).
    labels: the label table.
    distances: table to write.
    tokens: cached latents of the real volumes; with them reconstructions are measured, too.
    settings: JSON of the section `fidelity`, or a configuration file.
    threads: CPU threads.
    """
    from braing3n.config import FidelitySettings, parse_section
    from braing3n.runtime import set_threads

    section = parse_section(FidelitySettings, settings)
    set_threads(threads)
    import numpy as np
    import pandas as pd

    from braing3n.contracts import read_table, write_table
    from braing3n.fidelity.encode import encode_decoded
    from braing3n.fidelity.measure import measure_arms
    from braing3n.pretrain.model import load_encoder
    from braing3n.probe.plan import load_features
    from braing3n.tokenizer.model import load_tokenizer

    labelled = read_table(labels, "labels")
    models = load_encoder(encoder), load_tokenizer(tokenizer), section.batch_size
    with np.load(samples) as file:
        generated = encode_decoded(file["tokens"], *models, "samples")
    reconstructed = None
    if tokens is not None:
        reconstructed = encode_decoded(np.load(tokens, mmap_mode="r"), *models, "reconstructions")
    real = load_features(features, labelled)
    measured = measure_arms(generated, pd.read_parquet(table), real, reconstructed, labelled, section)
    write_table(measured, distances, "distances")
