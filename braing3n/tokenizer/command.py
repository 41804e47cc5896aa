"""The command line of `tokenizer`."""

from pathlib import Path

from cyclopts import App

app = App(name="tokenizer", help="Train the projection and the decoder; measure reconstructions.")


@app.command
def train(
    *,
    encoder: Path,
    volume_list: Path,
    volumes_dir: Path,
    checkpoints: Path,
    weights: Path,
    metrics: Path,
    picture: Path,
    settings: str,
    threads: int = 1,
) -> None:
    """Train the tokenizer on the training split, then measure and draw reconstructions of unseen people.

    Parameters
    ----------
    encoder
        The encoder's weight file.
    volume_list
        The volume list (.parquet).
    volumes_dir
        Folder of the packed volumes.
    checkpoints
        Folder of the runs, one folder for each digest of what was trained from.
    weights
        Weight file to make (.safetensors), a hard link to the run's.
    metrics
        MSE, PSNR and SSIM over the crop and inside the brain (.json).
    picture
        Real and reconstructed volumes by modality (.png).
    settings
        The section `tokenizer` as JSON, or a configuration file.
    threads
        CPU threads; results are the same bits for the same number.
    """
    from braing3n.runtime import set_threads, write_if_changed

    set_threads(threads)
    import json

    from braing3n.config import TokenizerSettings, parse_section
    from braing3n.pretrain.model import load_encoder
    from braing3n.tokenizer.measure import draw_reconstructions, measure_reconstruction
    from braing3n.tokenizer.model import load_tokenizer
    from braing3n.tokenizer.train import train_tokenizer
    from braing3n.training import count_workers, open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    volumes, mae = PackedVolumes(volume_list, volumes_dir), load_encoder(encoder)
    inputs = [encoder, volume_list, *volumes.index_paths()]
    options = parse_section(TokenizerSettings, settings)
    train_tokenizer(volumes, mae, options, checkpoints, weights, inputs, count_workers(threads))
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        models = mae.to(device := accelerator.device), load_tokenizer(weights).to(device)
        scores = measure_reconstruction(*models, volumes, device)
        write_if_changed(metrics, json.dumps(scores, indent=1) + "\n")
        draw_reconstructions(*models, volumes, picture, device)


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
    from braing3n.contracts import read_table, write_table
    from braing3n.ledger import write_provenance
    from braing3n.tokenizer import STAGE_VERSION
    from braing3n.tokenizer.sweep import choose_volumes

    options = parse_section(SweepSettings, settings)
    chosen = choose_volumes(read_table(volume_list, "volume_list"), options)
    print("sweep:", ", ".join(f"{split} {n}" for split, n in chosen["split"].value_counts().items()))
    write_table(chosen, out, "volume_list")
    write_provenance(out, "tokenizer", STAGE_VERSION, [volume_list], options.as_json())
