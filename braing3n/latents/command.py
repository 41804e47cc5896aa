"""The command line of `latents`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from braing3n.core.options import Count, OneOrMore, Paths, Threads, VolumeList, VolumesDir

if TYPE_CHECKING:
    from braing3n.core.settings import Settings
    from braing3n.latents.settings import LatentsSettings

app = App(name="braing3n latents", help="Cache tokens and features of every volume.")


@app.command
def cache(
    *,
    encoder: Path,
    tokenizer: Path,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    tokens: Path,
    features: Path,
    settings: str,
    threads: Threads = 1,
) -> None:
    """Encode every volume once: its tokens and its mean feature; a killed job resumes where it was.

    Parameters
    ----------
    encoder
        The encoder's weight file.
    tokenizer
        The tokenizer's weight file.
    tokens
        Tokens to write (.npy), float16 (N, tokens, channels), rows as in the volume list.
    features
        Mean encoder tokens to write (.npz).
    settings
        The section `latents`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.latents.cache import cache_latents
    from braing3n.latents.settings import LatentsSettings
    from braing3n.nets.weights import load_model
    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.tokenizer.model import Tokenizer
    from braing3n.training import count_workers, open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    device, volumes = open_accelerator().device, PackedVolumes(volume_list, volumes_dir)
    cache_latents(
        load_model(MaskedAutoencoder, encoder).to(device),
        load_model(Tokenizer, tokenizer).to(device),
        volumes,
        parse_section(LatentsSettings, settings),
        tokens,
        features,
        [encoder, tokenizer, volumes.digest()],
        device,
        count_workers(threads),
    )


@app.command
def features(
    *,
    name: str,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    features: Path,
    settings: Paths,
    part: Count = 0,
    n_parts: OneOrMore = 1,
    threads: Threads = 1,
) -> None:
    """Compute the features of an encoder that this run does not train; for those of others, a job resumes.

    Where its weights are missing, the file has no features and the reason, and its scores are n/a.

    Parameters
    ----------
    name
        One of `latents.encoders`, mae aside.
    features
        Features to write (.npz).
    settings
        The settings files of `latents` and of what the encoder's `SECTIONS` names: `pretrain`, for sizes, or
        `latents.foreign`, for weights, or `volumes`, `preprocess` and `resources`, for where voxels lie.
    part
        Which of --n-parts runs of the volumes, from 0; `latents join` joins them.
    n_parts
        Jobs that share the volumes.
    """
    from braing3n.core.runtime import digest_file, set_threads

    set_threads(threads)
    import numpy as np

    from braing3n.core.errors import MissingWeightsError
    from braing3n.encoders import compute_features, list_weights
    from braing3n.latents.cache import choose_part_dir, write_features
    from braing3n.training import open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    volumes = PackedVolumes(volume_list, volumes_dir)
    if n_parts > 1:
        volumes = volumes.of_part(part, n_parts)
    (section, others), reason = _read_sections(settings), ""
    weights = "".join(map(digest_file, list_weights(name, section.foreign.weights)))  # of at most one file
    inputs = [section.foreign.model_copy(update={"weights": {}, "sha256": {}}), *others.values()]
    made_of = [name, *(item.as_json() for item in inputs), volumes.digest(), weights]
    made_of += [str(section.batch_size), section.precision]  # what has been done is a number of batches
    part_dir = choose_part_dir(features, section, made_of)
    device = open_accelerator().device
    try:
        values = compute_features(name, volumes, section, others, device, part_dir)
    except MissingWeightsError as error:
        values, reason = np.empty((len(volumes), 0)), str(error)
        print(f"warning: no features of {name}, whose scores will be n/a: {reason}")
    write_features(volumes.table["volume_id"].to_numpy(dtype=str), values, features, reason, weights)


def _read_sections(settings: list[Path]) -> tuple[LatentsSettings, dict[str, Settings]]:
    """The section `latents`, and the others that encoders read; an encoder names those that it needs."""
    from braing3n.core.settings import ResourceSettings, parse_section
    from braing3n.latents.settings import ForeignSettings, LatentsSettings
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.pretrain.settings import PretrainSettings
    from braing3n.volumes.settings import VolumesSettings

    given = {path.stem: path for path in settings}
    foreign = parse_section(ForeignSettings, given.get("latents.foreign", "{}"))
    section = parse_section(LatentsSettings, given.get("latents", "{}"))
    kinds: dict[str, type[Settings]] = {"volumes": VolumesSettings, "preprocess": PreprocessSettings}
    kinds |= {"resources": ResourceSettings, "pretrain": PretrainSettings}
    others = {name: parse_section(kind, given.get(name, "{}")) for name, kind in kinds.items()}
    return section.model_copy(update={"foreign": foreign}), others


@app.command
def join(*, parts: Paths, features: Path) -> None:
    """Join the features of all parts, in the order that is given, to one file.

    Parameters
    ----------
    parts
        Files that `latents features --part` wrote.
    features
        Features to write (.npz).
    """
    from braing3n.latents.cache import join_features

    join_features(parts, features)
