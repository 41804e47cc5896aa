"""The command line of `diffusion`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Checkpoints, Labels, Threads, TrainedWeights, VolumeList

app = App(name="braing3n diffusion", help="Train the conditional DiT; sample it.")


@app.command
def train(
    *,
    tokens: Path,
    tokenizer: Path,
    volume_list: VolumeList,
    labels: Labels,
    weights: TrainedWeights,
    settings: str,
    checkpoints: Checkpoints = None,
    threads: Threads = 1,
) -> None:
    """Train the DiT on the training split's tokens; a killed run resumes at its last checkpoint.

    Parameters
    ----------
    tokens
        Every volume's tokens (.npy), rows as in the volume list.
    tokenizer
        The tokenizer's weight file, which knows the grid of the tokens.
    settings
        The section `diffusion`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    import numpy as np

    from braing3n.core.contracts import read_table
    from braing3n.core.errors import ContractError
    from braing3n.core.settings import parse_section
    from braing3n.diffusion.settings import DiffusionSettings
    from braing3n.diffusion.train import Latents, train_dit
    from braing3n.manifest.contracts import LABELS
    from braing3n.nets.weights import load_model
    from braing3n.tokenizer.model import Tokenizer
    from braing3n.volumes.contracts import VOLUME_LIST

    table, volumes = read_table(labels, LABELS), read_table(volume_list, VOLUME_LIST)
    if list(table["volume_id"]) != list(volumes["volume_id"]):
        raise ContractError(f"{labels}: its rows are not those of {volume_list}; rerun `manifest`.")
    latents = Latents(np.load(tokens, mmap_mode="r"), load_model(Tokenizer, tokenizer).grid, table)
    inputs = [tokens, labels, tokenizer]
    runs_dir = checkpoints or weights.parent / "checkpoints"
    train_dit(latents, parse_section(DiffusionSettings, settings), runs_dir, weights, inputs)


@app.command
def take(*, given: Path, weights: TrainedWeights) -> None:
    """Start from a DiT that was trained elsewhere, in place of training.

    Parameters
    ----------
    given
        Its weight file, of this program.
    """
    from braing3n.training import take_weights

    take_weights(given, "DiT", weights)


@app.command
def sample(
    *,
    weights: Path,
    tokenizer: Path,
    labels: Path,
    samples: Path,
    table: Path,
    picture: Path,
    settings: str,
    threads: Threads = 1,
) -> None:
    """Sample every arm whose classes the training split has; a killed job resumes. A JSON names the others.

    Parameters
    ----------
    weights
        The DiT's weight file.
    tokenizer
        The tokenizer's weight file.
    labels
        The label table (.parquet), which says what the model has seen.
    samples
        Tokens of the samples to write (.npz).
    table
        One row a sample to write (.parquet).
    picture
        Two decoded samples an arm (.png).
    settings
        The section `diffusion.sampling`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.contracts import read_table
    from braing3n.core.settings import parse_section
    from braing3n.diffusion import sample as sampling
    from braing3n.diffusion.model import DiT
    from braing3n.diffusion.settings import SamplingSettings
    from braing3n.manifest.contracts import LABELS
    from braing3n.nets.weights import load_model
    from braing3n.tokenizer.model import Tokenizer
    from braing3n.training import open_accelerator

    options, device = parse_section(SamplingSettings, settings), open_accelerator().device
    model = load_model(DiT, weights).to(device)
    arms, absent = sampling.choose_arms(model, read_table(labels, LABELS))
    rows = sampling.list_samples(arms, options.n_samples)
    tokens = sampling.write_samples(model, rows, options, device, samples, [weights])
    sampling.write_table_of_samples(rows, absent, table)
    sampling.draw_samples(load_model(Tokenizer, tokenizer).to(device), tokens, rows, picture, device)
