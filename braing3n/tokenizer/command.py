"""The command line of `tokenizer`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Checkpoints, Threads, TrainedWeights, VolumeList, VolumesDir
from braing3n.sweep.settings import Budget

app = App(name="braing3n tokenizer", help="Train the projection and the decoder; measure reconstructions.")


@app.command
def train(
    *,
    encoder: Path,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    checkpoints: Checkpoints,
    weights: TrainedWeights,
    metrics: Path,
    picture: Path,
    settings: str,
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
        The section `tokenizer` as JSON, or a configuration file.
    given
        Weight file of a tokenizer that was trained elsewhere; it is measured, and nothing is trained.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from functools import partial

    from braing3n.config import TokenizerSettings, parse_section
    from braing3n.pretrain.model import load_encoder
    from braing3n.sweep.compute import describe_arm
    from braing3n.tokenizer.model import load_tokenizer, reconstruct
    from braing3n.tokenizer.train import train_tokenizer
    from braing3n.training import count_workers, open_accelerator, read_record, take_weights
    from braing3n.volumes.dataset import PackedVolumes

    volumes, mae = PackedVolumes(volume_list, volumes_dir), load_encoder(encoder)
    inputs = [encoder, volumes.digest()]
    options = parse_section(TokenizerSettings, settings)
    if given:
        take_weights(given, "Tokenizer", weights)
    else:
        train_tokenizer(volumes, mae, options, checkpoints, weights, inputs, count_workers(threads))
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        net = load_tokenizer(weights).to(accelerator.device)
        counts = {"n_numbers_a_volume": net.n_numbers, "n_parameters": net.count_parameters()}
        facts = {"d": net.settings.d} | counts
        records = read_record(encoder, "MaskedAutoencoder"), read_record(weights, "Tokenizer")
        done = [record.get("n_epochs_trained") for record in records]
        if not given and None not in done:  # an encoder that somebody else trained does not say
            facts["training"] = describe_arm(mae.settings, options, volumes.shape, *done)
        function = partial(reconstruct, mae.to(accelerator.device), net)
        _show_reconstructions(function, volumes, accelerator.device, facts, metrics, picture)


@app.command
def akl(
    *,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    checkpoints: Checkpoints,
    weights: TrainedWeights,
    metrics: Path,
    picture: Path,
    settings: str,
    pretrain_settings: str,
    budget: Budget = "compute",
    threads: Threads = 1,
) -> None:
    """Train the AutoencoderKL baseline under a budget of MAE's and tokenizer's; measure and draw likewise.

    Parameters
    ----------
    metrics
        MSE, PSNR and SSIM over the crop and inside the brain, and the operations of both arms (.json).
    picture
        Real and reconstructed volumes by modality (.png).
    settings
        The section `tokenizer` as JSON, or a configuration file.
    pretrain_settings
        The section `pretrain`, whose training is part of the budget that is matched.
    budget
        What of MAE and tokenizer is matched: their operations, or their epochs.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.config import PretrainSettings, TokenizerSettings, parse_section
    from braing3n.sweep.akl_model import load_akl
    from braing3n.sweep.compute import describe_training, match_akl, print_compute, set_epochs
    from braing3n.sweep.train_akl import train_akl
    from braing3n.training import count_workers, open_accelerator, read_record
    from braing3n.volumes.dataset import PackedVolumes

    volumes = PackedVolumes(volume_list, volumes_dir)
    options = parse_section(TokenizerSettings, settings)
    compute = match_akl(parse_section(PretrainSettings, pretrain_settings), options, volumes.shape, budget)
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        print_compute(compute)
    planned, inputs = compute["akl_n_epochs"], [volumes.digest()]
    chosen = set_epochs(options.akl, planned)
    train_akl(volumes, chosen, checkpoints, weights, inputs, count_workers(threads))
    if accelerator.is_main_process:
        net = load_akl(weights).to(accelerator.device)
        counts = {"n_numbers_a_volume": net.n_numbers, "n_parameters": net.count_parameters()}
        done = read_record(weights, "AutoencoderKL")["n_epochs_trained"]
        training = describe_training((planned, done, compute["akl_flops_an_epoch"]))
        facts = counts | {"budget": budget, "compute": compute, "training": training}
        _show_reconstructions(net.reconstruct, volumes, accelerator.device, facts, metrics, picture)


@app.command
def choose(*, volume_list: Path, out: Path, settings: str = "{}") -> None:
    """Choose the volumes of the sweep over d, with a split of their own.

    Parameters
    ----------
    volume_list
        The whole corpus's volume list (.parquet).
    out
        The sweep's volume list to write (.parquet).
    settings
        The section `tokenizer.sweep` as JSON, or a configuration file.
    """
    from braing3n.config import SweepSettings, parse_section
    from braing3n.core.accounting import write_provenance
    from braing3n.core.contracts import read_table, write_table
    from braing3n.sweep.volumes import choose_volumes
    from braing3n.tokenizer import STAGE_VERSION

    options = parse_section(SweepSettings, settings)
    chosen = choose_volumes(read_table(volume_list, "volume_list"), options)
    print("sweep:", ", ".join(f"{split} {n}" for split, n in chosen["split"].value_counts().items()))
    write_table(chosen, out, "volume_list")
    write_provenance(out, "tokenizer", STAGE_VERSION, [volume_list], options.as_json())


def _show_reconstructions(reconstruct, volumes, device, facts: dict, metrics: Path, picture: Path) -> None:
    import json

    from braing3n.core.runtime import write_if_changed
    from braing3n.tokenizer.measure import draw_reconstructions, measure_reconstruction

    scores = measure_reconstruction(reconstruct, volumes, device, facts)
    write_if_changed(metrics, json.dumps(scores, indent=1) + "\n")
    draw_reconstructions(reconstruct, volumes, picture, device)
