"""The command line of the fidelity stage."""

from functools import partial
from pathlib import Path

from cyclopts import App

from braing3n.core.options import Labels, Threads

app = App(name="braing3n fidelity", help="Fréchet distances of samples on our encoder's features.")


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
        Cached latents of the real volumes; with them the reconstructions of those drawn are measured, too.
    settings
        The section `fidelity`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.core.settings import parse_section
    from braing3n.fidelity.contracts import DISTANCES
    from braing3n.fidelity.settings import FidelitySettings

    section = parse_section(FidelitySettings, settings)
    measured = _measure(samples, table, (encoder, tokenizer), features, labels, tokens, section)
    write_table(measured, distances, DISTANCES)


def _measure(
    samples: Path,
    table: Path,
    weights: tuple[Path, Path],
    features: Path,
    labels: Path,
    tokens: Path | None,
    section,
):
    """The distances of all arms; weights: those of the encoder and of the tokenizer."""
    import numpy as np

    from braing3n.core.contracts import read_table
    from braing3n.diffusion.contracts import SAMPLES
    from braing3n.fidelity.measure import measure_arms
    from braing3n.manifest.contracts import LABELS
    from braing3n.probe.plan import load_features

    labelled, conditions = read_table(labels, LABELS), read_table(table, SAMPLES)
    real, sampled = load_features(features, labelled), np.load(samples)["tokens"]
    encode = _load_models(*weights, section)
    generated, reconstructed = encode(sampled, np.arange(len(sampled)), description="samples"), None
    if tokens is not None:
        cached, rows = _choose_real(tokens, labels, conditions, labelled, section)
        reconstructed = _spread(encode(cached, rows, description="reconstructions"), rows, real.shape)
    return measure_arms(generated, conditions, real, reconstructed, labelled, section)


def _load_models(encoder: Path, tokenizer: Path, section):
    """What decodes rows of tokens and encodes the volumes, on this process's device."""
    from braing3n.fidelity.encode import encode_decoded
    from braing3n.nets.weights import load_model
    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.tokenizer.model import Tokenizer
    from braing3n.training import open_accelerator

    device = open_accelerator().device
    return partial(
        encode_decoded,
        encoder=load_model(MaskedAutoencoder, encoder).to(device),
        tokenizer=load_model(Tokenizer, tokenizer).to(device),
        settings=section,
    )


def _choose_real(tokens: Path, labels: Path, conditions, labelled, section):
    """The cached latents of the real volumes, left on disk, and the rows that are measured."""
    import numpy as np

    from braing3n.core.errors import ContractError
    from braing3n.fidelity.arms import list_real

    cached = np.load(tokens, mmap_mode="r")
    if len(cached) != len(labelled):
        raise ContractError(f"{tokens}: its rows are not those of {labels}; rerun the latents stage.")
    return cached, list_real(conditions, labelled, section)


def _spread(values, rows, shape):
    """Values of some rows in an array of all, which holds nothing elsewhere."""
    import numpy as np

    whole = np.full(shape, np.nan)
    whole[rows] = values
    return whole
