"""The command line of `pretrain`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Checkpoints, Threads, TrainedWeights, VolumeList, VolumesDir

app = App(name="braing3n pretrain", help="Train the masked autoencoder.")


@app.command
def train(
    *,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    weights: TrainedWeights,
    settings: str,
    checkpoints: Checkpoints = None,
    loss_picture: Path | None = None,
    loss_table: Path | None = None,
    threads: Threads = 1,
) -> None:
    """Train the encoder on the training split; a killed run resumes at its last checkpoint.

    Parameters
    ----------
    settings
        The section `pretrain`: its settings file, or a configuration file.
    loss_picture
        The loss curve to make (.png).
    loss_table
        Table to write: the last validation loss beside the baselines'.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.pretrain.settings import PretrainSettings
    from braing3n.pretrain.train import train_encoder
    from braing3n.training import count_workers
    from braing3n.volumes.dataset import PackedVolumes

    volumes = PackedVolumes(volume_list, volumes_dir)
    inputs, options = [volumes.digest()], parse_section(PretrainSettings, settings)
    paths = {"picture_path": loss_picture, "table_path": loss_table}
    runs_dir = checkpoints or weights.parent / "checkpoints"
    train_encoder(volumes, options, runs_dir, weights, inputs, count_workers(threads), **paths)


@app.command
def take(*, given: Path, weights: TrainedWeights) -> None:
    """Start from an encoder that was trained elsewhere, in place of training.

    Parameters
    ----------
    given
        Its weight file, of this program (`pretrain import` makes others' into one).
    """
    from braing3n.training import take_weights

    take_weights(given, "MaskedAutoencoder", weights)


@app.command(name="import")
def import_weights(
    *,
    release: Path,
    weights: Path,
    settings: str = "{}",
    shape: tuple[int, int, int] = (160, 192, 160),
) -> None:
    """Make an encoder that somebody else trained into a weight file of ours, and print what maps.

    Parameters
    ----------
    release
        Their weights: safetensors, or a torch checkpoint of tensors only.
    weights
        Weight file to make (.safetensors).
    settings
        The section `pretrain` as JSON, or a configuration file; the paper's where not given.
    shape
        Voxels of the volumes.
    """
    import torch

    from braing3n.core.settings import parse_section
    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.pretrain.release import import_release
    from braing3n.pretrain.settings import PretrainSettings

    options = parse_section(PretrainSettings, settings)
    torch.manual_seed(options.seed)
    import_release(release, MaskedAutoencoder(options, shape), weights)
