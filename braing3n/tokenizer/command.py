"""The command line of `tokenizer`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Checkpoints, Threads, TrainedWeights, VolumeList, VolumesDir

app = App(name="braing3n tokenizer", help="Train the projection and the decoder; measure reconstructions.")


@app.command
def train(
    *,
    encoder: Path,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    weights: TrainedWeights,
    metrics: Path,
    picture: Path,
    settings: str,
    checkpoints: Checkpoints = None,
    d: str = "",
    given: Path | None = None,
    threads: Threads = 1,
) -> None:
    """Train the tokenizer on the training split, then measure and draw reconstructions of unseen people.

    Parameters
    ----------
    encoder
        The encoder's weight file.
    metrics
        MSE, PSNR and SSIM over the crop and inside the brain (.json).
    picture
        Real and reconstructed volumes by modality (.png).
    settings
        The section `tokenizer`: its settings file, or a configuration file.
    d
        Channels a token in place of those of the settings (a number, or none).
    given
        Weight file of a tokenizer that was trained elsewhere; it is measured, and nothing is trained.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from functools import partial

    from braing3n.nets.weights import load_model
    from braing3n.pretrain.model import MaskedAutoencoder
    from braing3n.tokenizer.measure import show_reconstructions
    from braing3n.tokenizer.model import Tokenizer, reconstruct
    from braing3n.tokenizer.train import train_tokenizer
    from braing3n.training import count_workers, open_accelerator, take_weights
    from braing3n.volumes.dataset import PackedVolumes

    volumes, mae = PackedVolumes(volume_list, volumes_dir), load_model(MaskedAutoencoder, encoder)
    options = _read_settings(settings, d)
    if given:
        take_weights(given, "Tokenizer", weights)
    else:
        runs_dir = checkpoints or weights.parent / "checkpoints"
        inputs: list[Path | str] = [encoder, volumes.digest()]
        train_tokenizer(volumes, mae, options, runs_dir, weights, inputs, count_workers(threads))
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        net = load_model(Tokenizer, weights).to(accelerator.device)
        facts = _count_numbers(net) | ({} if given else _describe_training(mae, encoder, options, weights))
        function = partial(reconstruct, mae.to(accelerator.device), net)
        show_reconstructions(function, volumes, accelerator.device, facts, metrics, picture)


def _read_settings(settings: str, d: str):
    """The section `tokenizer`, with other channels a token where d says so."""
    from braing3n.core.settings import parse_section
    from braing3n.tokenizer.settings import TokenizerSettings

    options = parse_section(TokenizerSettings, settings)
    return options.with_d(d) if d else options


def _count_numbers(net) -> dict:
    return {"d": net.settings.d, "n_numbers_a_volume": net.n_numbers, "n_parameters": net.count_parameters()}


def _describe_training(mae, encoder: Path, options, weights: Path) -> dict:
    """What encoder and tokenizer were trained for; nothing of an encoder that somebody else trained."""
    from braing3n.tokenizer.compute import describe_arm
    from braing3n.training import read_record

    records = read_record(encoder, "MaskedAutoencoder"), read_record(weights, "Tokenizer")
    n_mae, n_tokenizer = (record.get("n_epochs_trained") for record in records)
    if n_mae is None or n_tokenizer is None:
        return {}
    return {"training": describe_arm(mae.settings, options, mae.shape, n_mae, n_tokenizer)}
