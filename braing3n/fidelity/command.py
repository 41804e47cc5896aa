"""The command line of the fidelity stage."""

from functools import partial
from pathlib import Path

from cyclopts import App

from braing3n.core.options import Labels, Threads

app = App(name="braing3n fidelity", help="How far samples lie from real volumes, by arm.")


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
    volume_list: Path | None = None,
    volumes_dir: Path | None = None,
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
        Table to write; beside it `decoded.npz`, the decoded volumes on voxels of about 4 mm, and the
        tokens that reconstructions encode to.
    tokens
        Cached latents of the real volumes; with them the reconstructions of those drawn are measured, too.
    volume_list
        The volume list, for the networks of others, which see real volumes.
    volumes_dir
        Folder of the packed volumes.
    settings
        The section `fidelity`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.core.settings import parse_section
    from braing3n.fidelity.coarse import CoarseVolumes, KeptTokens, write_coarse
    from braing3n.fidelity.contracts import DISTANCES
    from braing3n.fidelity.settings import FidelitySettings

    section = parse_section(FidelitySettings, settings)
    packed = (volume_list, volumes_dir) if volume_list and volumes_dir else None
    small = {"samples": CoarseVolumes(), "reconstructions": CoarseVolumes()}
    watchers, again = tuple(small.values()), KeptTokens()
    models = encoder, tokenizer
    measured = _measure(samples, table, models, features, labels, tokens, packed, (*watchers, again), section)
    write_coarse(small, distances.with_name("decoded.npz"), again)
    write_table(measured, distances, DISTANCES)


def _measure(
    samples: Path,
    table: Path,
    weights: tuple[Path, Path],
    features: Path,
    labels: Path,
    tokens: Path | None,
    packed: tuple[Path, Path] | None,
    small: tuple,
    section,
):
    """All quantities of all arms; weights: those of the encoder and of the tokenizer.

    small: watchers of the decoded samples and reconstructions, and of the tokens that these encode to.
    """
    import numpy as np
    import pandas as pd

    from braing3n.core.contracts import read_table
    from braing3n.diffusion.contracts import SAMPLES
    from braing3n.fidelity.measure import FRECHET, MORE, measure_arms
    from braing3n.fidelity.sliced import SLOTS
    from braing3n.fidelity.variety import KeptVolumes, list_rows, measure_variety
    from braing3n.manifest.contracts import LABELS
    from braing3n.probe.plan import load_features

    labelled, conditions = read_table(labels, LABELS), read_table(table, SAMPLES)
    real, sampled = load_features(features, labelled), np.load(samples)["tokens"]
    encode, decoded = _load_models(*weights, section), None
    kept = [KeptVolumes(rows) for rows in list_rows(conditions, labelled, section)]
    opened = [_open_slot(slot, packed, conditions, labelled, section) for slot in SLOTS]
    seen = [sets for sets, _ in opened if sets]
    watchers = [[one, small[k], *(sets[k] for sets in seen)] for k, one in enumerate(kept)]
    rows = np.arange(len(sampled))
    generated = encode(sampled, rows, description="samples", watchers=watchers[0])
    if tokens is not None:
        cached, rows = _choose_real(tokens, labels, conditions, labelled, section)
        decoded = encode(cached, rows, description="reconstructions", watchers=watchers[1], again=small[2])
        decoded = _spread(decoded, rows, real.shape)
    rest = labelled, section
    on_mae = partial(measure_arms, generated, conditions, real, decoded, *rest)
    measured = [on_mae(FRECHET), on_mae(MORE)]
    measured.append(measure_variety(kept[0], kept[1] if tokens else None, conditions, *rest))
    for slot, (sets, reason) in zip(SLOTS, opened, strict=True):
        on_others = on_mae
        if sets:
            known = sets[1] if tokens else None
            on_others = partial(measure_arms, sets[0], conditions, sets[2], known, *rest)
        measured += [on_others(judge, reason) for judge in slot.list_judges(section.n_slice_draws)]
    return pd.concat(measured, ignore_index=True)


def _open_slot(slot, packed: tuple[Path, Path] | None, conditions, labelled, section):
    """A network's features: empty sets for samples and reconstructions, and of real volumes; or why not."""
    reason = slot.explain_absence(section)
    if reason or packed is None:
        return None, reason or "no --volume-list and --volumes-dir given"
    from braing3n.fidelity.arms import list_real
    from braing3n.fidelity.sliced import see_real
    from braing3n.training import open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    network = slot.open(section, open_accelerator().device)
    rows = list_real(conditions, labelled, section)
    real = see_real(network, PackedVolumes(*packed).load, rows, len(labelled), slot.cut)
    return (real.see_others(len(conditions)), real.see_others(len(labelled)), real), ""


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
