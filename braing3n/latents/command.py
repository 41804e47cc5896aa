"""The command line of `latents`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.errors import BrainG3nError
from braing3n.core.options import Count, OneOrMore, Paths, Threads, VolumeList, VolumesDir

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

    if part >= n_parts:
        raise BrainG3nError(f"--part {part}: of {n_parts} parts the last is {n_parts - 1}.")
    set_threads(threads)
    import numpy as np

    from braing3n.core.errors import MissingWeightsError
    from braing3n.core.settings import ResourceSettings, parse_section
    from braing3n.encoders import compute_features, list_weights
    from braing3n.latents.cache import choose_part_dir, write_features
    from braing3n.latents.settings import ForeignSettings, LatentsSettings
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.pretrain.settings import PretrainSettings
    from braing3n.training import open_accelerator
    from braing3n.volumes.dataset import PackedVolumes
    from braing3n.volumes.settings import VolumesSettings

    volumes = PackedVolumes(volume_list, volumes_dir)
    volumes = volumes.of_part(part, n_parts) if n_parts > 1 else volumes
    given = {path.stem: path for path in settings}  # an encoder names the sections that it reads
    pretrain = parse_section(PretrainSettings, given.get("pretrain", "{}"))
    section = parse_section(LatentsSettings, given.get("latents", "{}"))
    foreign = parse_section(ForeignSettings, given.get("latents.foreign", "{}"))
    section, reason = section.model_copy(update={"foreign": foreign}), ""
    weights = "".join(digest_file(path) for path in list_weights(name, foreign.weights))  # of at most one
    inputs = foreign.model_copy(update={"weights": {}, "sha256": {}}).as_json()
    part_dir = choose_part_dir(features, section, [name, inputs, volumes.digest(), weights])
    others = {
        "volumes": parse_section(VolumesSettings, given.get("volumes", "{}")),
        "preprocess": parse_section(PreprocessSettings, given.get("preprocess", "{}")),
        "resources": parse_section(ResourceSettings, given.get("resources", "{}")),
    }
    device = open_accelerator().device
    try:
        values = compute_features(name, volumes, section, pretrain, device, part_dir, others)
    except MissingWeightsError as error:
        values, reason = np.empty((len(volumes), 0)), str(error)
        print(f"warning: no features of {name}, whose scores will be n/a: {reason}")
    write_features(volumes.table["volume_id"].to_numpy(dtype=str), values, features, reason, weights)


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
