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
    results: Path | None = None,
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
        Table to write; beside it `anatomy.parquet` and `segmented.parquet`, what differs in anatomy and each
        volume's, and `decoded.npz`, the decoded volumes on voxels of about 4 mm, and the tokens that
        reconstructions encode to.
    tokens
        Cached latents of the real volumes; with them the reconstructions of those drawn are measured, too.
    results
        The run's results folder, whose packed volumes the networks of others and the segmentation see.
    settings
        The section `fidelity`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import write_table
    from braing3n.core.settings import parse_section
    from braing3n.fidelity.coarse import CoarseVolumes, KeptTokens, write_coarse
    from braing3n.fidelity.contracts import ANATOMY, DISTANCES, SEGMENTED
    from braing3n.fidelity.settings import FidelitySettings

    section = parse_section(FidelitySettings, settings)
    small = {"samples": CoarseVolumes(), "reconstructions": CoarseVolumes()}
    watchers, again = tuple(small.values()), KeptTokens()
    models = encoder, tokenizer
    measured, anatomy, segmented = _measure(
        samples, table, models, features, labels, tokens, results, (*watchers, again), section
    )
    write_coarse(small, distances.with_name("decoded.npz"), again)
    write_table(anatomy, distances.with_name("anatomy.parquet"), ANATOMY)
    write_table(segmented, distances.with_name("segmented.parquet"), SEGMENTED)
    write_table(measured, distances, DISTANCES)


def _measure(
    samples: Path,
    table: Path,
    weights: tuple[Path, Path],
    features: Path,
    labels: Path,
    tokens: Path | None,
    results: Path | None,
    small: tuple,
    section,
):
    """All quantities of all arms, their anatomy, and the volumes that it comes from.

    weights: those of the encoder and of the tokenizer.
    small: watchers of the decoded samples and reconstructions, and of the tokens that these encode to.
    """
    import numpy as np
    import pandas as pd

    from braing3n.core.contracts import read_table
    from braing3n.diffusion.contracts import SAMPLES
    from braing3n.fidelity.anatomy.watch import compare_tools
    from braing3n.fidelity.measure import FRECHET, MORE, measure_arms
    from braing3n.fidelity.other_features import SLOTS
    from braing3n.fidelity.variety import KeptVolumes, list_rows, measure_variety
    from braing3n.manifest.contracts import LABELS
    from braing3n.probe.plan import load_features

    labelled, conditions = read_table(labels, LABELS), read_table(table, SAMPLES)
    real, sampled = load_features(features, labelled), np.load(samples)["tokens"]
    encode, decoded = _load_models(*weights, section), None
    kept = [KeptVolumes(rows) for rows in list_rows(conditions, labelled, section)]
    opened = [_open_slot(slot, results, conditions, labelled, section) for slot in SLOTS]
    cached, rows = _choose_real(tokens, labels, conditions, labelled, section) if tokens else (None, None)
    anatomy, no_anatomy = _open_anatomy(results, encode, cached, conditions, labelled, section)
    seen = [sets for sets, _ in opened if sets]
    if anatomy:
        seen.append((anatomy.sets["generated"], anatomy.sets["reconstructed"]))
    watchers = [[one, small[k], *(sets[k] for sets in seen)] for k, one in enumerate(kept)]
    generated = encode(sampled, np.arange(len(sampled)), description="samples", watchers=watchers[0])
    if cached is not None:
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
    compared = compare_tools(anatomy, conditions, *rest, no_anatomy)
    return pd.concat(measured, ignore_index=True), *compared


def _open_anatomy(results: Path | None, encode, cached, conditions, labelled, section):
    """What segments the run's volumes, the real ones segmented already; or why not."""
    from braing3n.core.errors import ResourceError
    from braing3n.fidelity.anatomy.watch import Anatomy, open_atlas

    if results is None or cached is None:
        return None, f"no --{'results' if results is None else 'tokens'} given"
    try:
        segmenter = open_atlas(results / "settings")
    except ResourceError as error:
        return None, str(error)
    load = _open_packed(results).load

    def decode(rows, watch):
        encode(cached, rows, description="anatomy: brains of reconstructions", watchers=[watch])

    return Anatomy(segmenter, load, decode, conditions, labelled, section), ""


def _open_packed(results: Path):
    """A run's packed volumes, in the order of its label table."""
    from braing3n.volumes.dataset import PackedVolumes

    return PackedVolumes(results / "manifest" / "volume_list.parquet", results / "volumes")


def _open_slot(slot, results: Path | None, conditions, labelled, section):
    """A network's features: empty sets for samples and reconstructions, and of real volumes; or why not."""
    reason = slot.explain_absence(section)
    if reason or results is None:
        return None, reason or "no --results given"
    from braing3n.fidelity.arms import list_real
    from braing3n.fidelity.other_features import see_real
    from braing3n.training import open_accelerator

    network = slot.open(section, open_accelerator().device)
    rows = list_real(conditions, labelled, section)
    real = see_real(network, _open_packed(results).load, rows, len(labelled), slot.cut)
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
