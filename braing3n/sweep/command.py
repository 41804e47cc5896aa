"""The command line of `sweep`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from braing3n.core.options import Checkpoints, Labels, Names, Threads, TrainedWeights, VolumeList, VolumesDir
from braing3n.sweep.baselines import load
from braing3n.sweep.settings import Budget

Name = Annotated[str, Parameter(help="The baseline, a file of `braing3n/sweep/baselines/`.")]
app = App(
    name="braing3n sweep", help="Table 5: choose its volumes, train and encode the baselines, probe all arms."
)


@app.command
def choose(*, volume_list: Path, out: Path, settings: str = "{}") -> None:
    """Choose the volumes of the sweep, with a split of their own.

    Parameters
    ----------
    volume_list
        The whole corpus's volume list (.parquet).
    out
        The sweep's volume list to write (.parquet).
    settings
        The section `sweep`: its settings file, or a configuration file.
    """
    from braing3n.core.accounting import write_provenance
    from braing3n.core.contracts import read_table, write_table
    from braing3n.core.settings import parse_section
    from braing3n.sweep import STAGE_VERSION
    from braing3n.sweep.settings import SweepSettings
    from braing3n.sweep.volumes import choose_volumes
    from braing3n.volumes.contracts import VOLUME_LIST

    options = parse_section(SweepSettings, settings)
    chosen = choose_volumes(read_table(volume_list, VOLUME_LIST), options)
    print("sweep:", ", ".join(f"{split} {n}" for split, n in chosen["split"].value_counts().items()))
    write_table(chosen, out, VOLUME_LIST)
    write_provenance(out, "sweep", STAGE_VERSION, [volume_list], options.as_json())


@app.command
def baseline(
    *,
    name: Name,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    weights: TrainedWeights,
    metrics: Path,
    picture: Path,
    settings: str,
    checkpoints: Checkpoints = None,
    pretrain_settings: str,
    tokenizer_settings: str,
    budget: Budget = "compute",
    threads: Threads = 1,
) -> None:
    """Train a baseline tokenizer under a budget of MAE's and tokenizer's; measure and draw likewise.

    Parameters
    ----------
    metrics
        MSE, PSNR and SSIM over the crop and inside the brain, and the operations of both arms (.json).
    picture
        Real and reconstructed volumes by modality (.png).
    settings
        The section `sweep.<name>`: its settings file, or a configuration file.
    pretrain_settings
        The section `pretrain`, whose training is part of the budget that is matched.
    tokenizer_settings
        The section `tokenizer`, likewise.
    budget
        What of MAE and tokenizer is matched: their operations, or their epochs.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.nets.weights import load_model
    from braing3n.pretrain.settings import PretrainSettings
    from braing3n.sweep.baseline import Baseline
    from braing3n.sweep.budget import describe_baseline, match_budget, print_compute, set_epochs
    from braing3n.sweep.train import train_baseline
    from braing3n.tokenizer.measure import show_reconstructions
    from braing3n.tokenizer.settings import TokenizerSettings
    from braing3n.training import count_workers, open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    options = parse_section(load(name).SETTINGS, settings)
    volumes, accelerator = PackedVolumes(volume_list, volumes_dir), open_accelerator()
    pretrain = parse_section(PretrainSettings, pretrain_settings)
    tokenizer = parse_section(TokenizerSettings, tokenizer_settings)
    compute = match_budget(name, options, pretrain, tokenizer, volumes.shape, budget)
    if accelerator.is_main_process:
        print_compute(name, compute)
    chosen, inputs = set_epochs(options, compute["baseline_n_epochs"]), [volumes.digest()]
    runs_dir = checkpoints or weights.parent / "checkpoints"
    train_baseline(name, volumes, chosen, runs_dir, weights, inputs, count_workers(threads))
    if accelerator.is_main_process:
        net = load_model(Baseline, weights).to(accelerator.device)
        facts = describe_baseline(net, weights, compute, budget)
        show_reconstructions(net.reconstruct, volumes, accelerator.device, facts, metrics, picture)


@app.command
def cache_baseline(
    *,
    weights: Path,
    volume_list: VolumeList,
    volumes_dir: VolumesDir,
    latents: Path,
    settings: str,
    threads: Threads = 1,
) -> None:
    """Encode every volume by a trained baseline; a killed job resumes.

    Parameters
    ----------
    weights
        The baseline's weight file.
    latents
        Latents to write (.npy), float16 (N, channels, d, h, w), rows as in the volume list.
    settings
        The section `latents`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.core.settings import parse_section
    from braing3n.latents.settings import LatentsSettings
    from braing3n.nets.weights import load_model
    from braing3n.sweep import cache
    from braing3n.sweep.baseline import Baseline
    from braing3n.training import count_workers, open_accelerator
    from braing3n.volumes.dataset import PackedVolumes

    device, volumes = open_accelerator().device, PackedVolumes(volume_list, volumes_dir)
    net, section = load_model(Baseline, weights).to(device), parse_section(LatentsSettings, settings)
    inputs: list[Path | str] = [weights, volumes.digest()]
    cache.cache_baseline(net, volumes, section, latents, inputs, device, count_workers(threads))


@app.command
def probe(
    *,
    arms: Names,
    labels: Labels,
    scores: Path,
    sweep_settings: str = "{}",
    settings: str = "{}",
    threads: Threads = 1,
):
    """Probe every arm of the sweep over d, its mean and flattened, and the untrained encoder.

    Parameters
    ----------
    arms
        Names of the arms.
    scores
        Table of scores to write in the sweep's folder, beside `volume_list.parquet`, `<arm>/latents.npy` with
        its rows, and `untrained/features.npz`.
    sweep_settings
        The section `sweep.probe`: its settings file, or a configuration file.
    settings
        The section `probe`: its settings file, or a configuration file.
    """
    from braing3n.core.runtime import set_threads
    from braing3n.core.settings import parse_section
    from braing3n.probe.settings import ProbeSettings
    from braing3n.sweep.settings import SweepProbeSettings

    sweep = parse_section(SweepProbeSettings, sweep_settings)
    section = parse_section(ProbeSettings, settings)
    set_threads(threads)
    from braing3n.core.contracts import read_table, write_table
    from braing3n.manifest.contracts import LABELS
    from braing3n.sweep.contracts import SWEEP
    from braing3n.sweep.probe import probe_sweep
    from braing3n.volumes.contracts import VOLUME_LIST

    sweep_dir = scores.parent
    volume_ids = read_table(sweep_dir / "volume_list.parquet", VOLUME_LIST)["volume_id"]
    table = read_table(labels, LABELS).set_index("volume_id").loc[volume_ids].reset_index()
    paths = {arm: sweep_dir / arm / "latents.npy" for arm in arms}
    untrained = sweep_dir / "untrained" / "features.npz"
    write_table(probe_sweep(paths, untrained, table, sweep, section), scores, SWEEP)
