"""Train our encoder on one task in each fold, and predict the people of that fold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braing3n import training
from braing3n.core.runtime import digest_text, write_atomically
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe import STAGE_VERSION
from braing3n.probe.finetune.model import FinetunedEncoder
from braing3n.probe.fit import build_model
from braing3n.probe.folds import check_folds
from braing3n.probe.plan import Probe
from braing3n.probe.settings import FinetuneSettings, ProbeSettings

PREDICTIONS_NAME = "predictions.npy"  # that it is there says that a fold is done


@dataclass(frozen=True)
class StartingPoint:
    """What every fold starts from.

    Attributes:
        encoder_path: weights of our masked autoencoder.
        volumes: those of the label table, in its order.
        digest: of the volumes, as of `PackedVolumes`.
        features: mean tokens (n_volumes, width) by this encoder.
        probe: settings of the frozen probe, at whose weights the layer begins.
    """

    encoder_path: Path
    volumes: training.Volumes
    digest: str
    features: np.ndarray
    probe: ProbeSettings


@dataclass(frozen=True)
class Fold:
    """Who is trained on, who is tested, and what is asked of them.

    Attributes:
        train: rows of the label table.
        test: rows of the label table; nobody of them is in `train`.
        wanted: of each training row the class's place, or the number less `centre` over `spread`.
        n_outputs: classes, or 1 for a number.
        centre: mean number of the training rows.
        spread: their deviation.
    """

    train: np.ndarray
    test: np.ndarray
    wanted: Tensor
    n_outputs: int
    centre: float = 0.0
    spread: float = 1.0

    def measure_loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Cross entropy, or the mean squared error of standardised numbers."""
        if wanted.is_floating_point():
            return functional.mse_loss(found[:, 0], wanted)
        return functional.cross_entropy(found, wanted)

    def read(self, found: Tensor) -> np.ndarray:
        """Probabilities, or numbers in the target's unit, of what a network says of the test rows."""
        is_number = self.wanted.is_floating_point()
        values = found * self.spread + self.centre if is_number else found.softmax(dim=1)
        return values.cpu().double().numpy()

    def describe(self, ids: np.ndarray) -> str:
        """The digest of rows, by volume id, and of what is wanted of them."""
        parts = [ids[self.train].tolist(), self.wanted.tolist(), ids[self.test].tolist()]
        return digest_text(json.dumps([*parts, self.n_outputs, self.centre, self.spread]))


def cut_folds(probe: Probe) -> Iterator[tuple[np.ndarray, Fold]]:
    """Each fold with the units (n_units,) that are tested in it; a unit is a volume."""
    rows = np.flatnonzero(probe.unit_of_row >= 0)
    target, places = probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    for place in np.unique(places):
        is_test = places == place
        if probe.classes:
            code = np.searchsorted(np.array(probe.classes), target.astype(str))
            facts = torch.from_numpy(code[~is_test]), len(probe.classes), 0.0, 1.0
        else:
            y = target[~is_test].astype(float)
            centre, spread = float(y.mean()), float(y.std()) or 1.0
            facts = torch.from_numpy((y - centre) / spread).float(), 1, centre, spread
        yield is_test, Fold(rows[~is_test], rows[is_test], *facts)


def predict_finetuned(
    probe: Probe, source: StartingPoint, settings: FinetuneSettings, runs_dir: Path, n_workers: int = 1
) -> np.ndarray:
    """Each unit's prediction (n_units, n_classes or 1) by an encoder that was trained on the other folds.

    A fold is a run in a folder of its own below `runs_dir`: what a killed job did there is not done again.
    Its checkpoints, which nothing else needs, go when it is done. Training
    ends with its plan; no look at a fold's own people chooses when.

    Raises:
        ContractError: a person or a family lies in two folds.
    """
    check_folds(probe.units)
    predictions = np.zeros((len(probe.units), len(probe.classes) or 1))
    ids = source.volumes.table["volume_id"].to_numpy()
    for is_test, fold in cut_folds(probe):
        inputs: list[Path | str] = [source.encoder_path, source.digest, fold.describe(ids)]
        inputs.append(digest_text(source.probe.as_json()))
        with training.open_run_dir(runs_dir, "probe", STAGE_VERSION, settings, inputs) as run_dir:
            if not (run_dir / PREDICTIONS_NAME).exists():
                _train_and_predict(fold, source, settings, run_dir, n_workers)
            # Also what a job left that was killed beside its predictions.
            for path in run_dir.glob("step-*.safetensors"):
                path.unlink(missing_ok=True)
            predictions[is_test] = np.load(run_dir / PREDICTIONS_NAME)
    return predictions


def _train_and_predict(
    fold: Fold, source: StartingPoint, settings: FinetuneSettings, run_dir: Path, n_workers: int
) -> None:
    """Write a fold's predictions."""
    run, net = _train(fold, source, settings, run_dir, n_workers)
    if run.is_main:
        found = _predict(run, net, fold, source, n_workers)
        with write_atomically(run_dir / PREDICTIONS_NAME) as beside:
            np.save(beside, fold.read(found))
    run.accelerator.wait_for_everyone()


def _train(
    fold: Fold, source: StartingPoint, settings: FinetuneSettings, run_dir: Path, n_workers: int
) -> tuple[training.Run, FinetunedEncoder]:
    options = settings.optimiser
    table = source.volumes.table.iloc[fold.train].assign(split="train")
    run = training.plan_run("probe", run_dir, table, options, settings.seed)
    features = torch.from_numpy(source.features[fold.train])
    encoder = load_model(MaskedAutoencoder, source.encoder_path)
    net = FinetunedEncoder(encoder, features, fold.n_outputs)
    _start_at_probe(net, fold, source)
    net = net.to(run.device)
    training.recompute_activations(net.encoder.blocks, options)
    training.compile_blocks(net.encoder.blocks, options)
    optimiser = training.build_optimiser(net, options, (net.encoder,), settings.encoder_lr_scale)
    training.resume_run(run, {"model": net, "optimiser": optimiser})
    model, optimiser = run.accelerator.prepare(net, optimiser)

    batches = [fold.train[rows] for rows in run.own_batches]
    volumes = training.load_batches(source.volumes, batches, n_workers, run.device)
    for step, volume in training.take_steps(run, volumes, validate=lambda step: None):
        wanted = training.send(fold.wanted[run.plan[step][run.own]], run.device)
        for share, images, y in training.accumulate(run, model, volume, wanted):
            with training.autocast(run.device, options):
                loss = share * fold.measure_loss(model(images), y)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
    if run.writer is not None:
        run.writer.close()
    return run, net


def _start_at_probe(net: FinetunedEncoder, fold: Fold, source: StartingPoint) -> None:
    """Let the layer begin as the frozen probe of this fold, from which training continues.

    As Kumar et al. 2022 ("Fine-tuning can distort pretrained features") recommend. A class that the training
    fold lacks begins at 0; so does the layer where there is one class.
    """
    x, y = source.features[fold.train], fold.wanted.numpy()
    is_number = fold.wanted.is_floating_point()
    if not is_number and len(np.unique(y)) < 2:
        return
    kind = "regression" if is_number else "classification"
    last = build_model(kind, len(x), x.shape[1], source.probe, has_pca=False).fit(x, y)[-1]
    weight, bias = np.atleast_2d(last.coef_), np.atleast_1d(last.intercept_)
    places = np.zeros(1, dtype=int) if is_number else last.classes_
    if len(weight) < len(places):  # of two classes one weight vector, which is the second's
        places = places[1:]
    net.start_at(torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), torch.from_numpy(places))


@torch.no_grad()
def _predict(
    run: training.Run, net: FinetunedEncoder, fold: Fold, source: StartingPoint, n_workers: int
) -> Tensor:
    """What the network says of the test rows, (n_test, n_outputs)."""
    batches = training.cut_batches(fold.test, run.options.batch_size)
    found = []
    for volume in training.load_batches(source.volumes, batches, n_workers, run.device):
        with training.autocast(run.device, run.options):
            found.append(net.eval()(volume))
    return torch.cat(found)
