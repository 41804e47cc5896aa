"""Invented whole heads, and a small nnU-Net trained on them by nnU-Net's own classes."""

import json
import os
from unittest import mock

import numpy as np

from .brains import SEMI_AXES_MM, centred_affine, paint, rotate

SPACING_MM = 8.0  # that of the network
PATCH = (24, 24, 24)  # smaller than a head: the windows slide
N_STEPS = 60
FEATURES = (8, 16, 16)


def paint_head(points):
    """Intensity at RAS points (..., 3) in mm: the invented brain, dark fluid, a bright scalp and a face."""
    radius = np.sqrt(((points / SEMI_AXES_MM) ** 2).sum(axis=-1))
    scalp = 95.0 * ((radius > 1.14) & (radius < 1.3))
    face = np.sqrt((((points - (0, 75, -65)) / (40, 35, 40)) ** 2).sum(axis=-1)) < 1
    return (paint(points) + np.where(radius < 1.14, 8.0, np.maximum(scalp, 110.0 * face))).astype(np.float32)


def is_brain(points):
    """Where the invented brain is, at RAS points (..., 3) in mm."""
    return ((points / SEMI_AXES_MM) ** 2).sum(axis=-1) < 1


def make_head(shape, affine, to_brain=None, seed=0):
    """A noisy head and its brain (bool) on a grid; `to_brain` (4 x 4, RAS mm) as of `brains.sample`."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    matrix = (np.eye(4) if to_brain is None else to_brain) @ affine
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    noise = np.random.default_rng(seed).normal(0, 4, shape)
    return np.maximum(paint_head(points) + noise, 0).astype(np.float32), is_brain(points)


def make_training_head(seed):
    """One of many heads: another pose, size, field of view and voxel size."""
    rng = np.random.default_rng(seed)
    spacing_mm = rng.uniform(4, 7, 3)
    shape = tuple(np.round(np.array([210, 250, 200]) * rng.uniform(0.95, 1.2) / spacing_mm).astype(int))
    turn = rotate(rng.uniform(-15, 15), axis=rng.integers(3), shift=rng.uniform(-12, 12, 3))
    turn[:3, :3] *= rng.uniform(0.9, 1.12)
    return *make_head(shape, centred_affine(shape, spacing_mm), turn, seed), spacing_mm


def write_model(folder, n_steps=N_STEPS, seed=0):
    """Train a small network on invented heads, and write its folder as nnU-Net does.

    Plans and dataset have nnU-Net's format; preprocessing, network and checkpoint are nnU-Net's own.
    """
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(seed)
    plans, dataset = make_plans(), make_dataset()
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    with mock.patch.dict(os.environ, {"nnUNet_results": str(folder.parent / "log")}):
        trainer = nnUNetTrainer(
            plans | {"continue_training": False}, "3d_fullres", "all", dataset, torch.device("cpu")
        )
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 2, enable_deep_supervision=False
    )
    trainer.optimizer = torch.optim.Adam(trainer.network.parameters(), lr=0.01)
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    losses = train(trainer, n_steps, seed)
    trainer._best_ema = np.float64(-losses[-1])  # a NumPy number, as in every real checkpoint
    (folder / "fold_all").mkdir()
    trainer.save_checkpoint(str(folder / "fold_all" / "checkpoint_final.pth"))
    return folder


def train(trainer, n_steps, seed):
    """A plain loop over random windows of preprocessed heads; returns the losses."""
    import torch

    rng = np.random.default_rng(seed)
    configuration = trainer.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    heads = []
    for number in range(12):
        head, brain, spacing_mm = make_training_head(number)
        head, brain = head.transpose(2, 1, 0)[None], brain.transpose(2, 1, 0)[None].astype(np.int8)
        parts = (
            {"spacing": list(spacing_mm[::-1])},
            trainer.plans_manager,
            configuration,
            trainer.dataset_json,
        )
        image, labels, _ = preprocessor.run_case_npy(head, brain, *parts)
        heads.append((image, np.maximum(labels, 0)))
    losses = []
    for _ in range(n_steps):
        windows = [cut_window(*heads[rng.integers(len(heads))], rng) for _ in range(2)]
        images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*windows, strict=True))
        loss = torch.nn.functional.cross_entropy(trainer.network(images), labels[:, 0].long())
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
        losses.append(loss.item())
    return losses


def cut_window(image, labels, rng):
    """A window of the patch's size from both (1, D, H, W), padded with 0 where the head is smaller."""
    pads = [(0, 0), *((0, max(0, edge - n)) for edge, n in zip(PATCH, image.shape[1:], strict=True))]
    image, labels = np.pad(image, pads), np.pad(labels, pads)
    starts = [rng.integers(n - edge + 1) for edge, n in zip(PATCH, image.shape[1:], strict=True)]
    window = (slice(None), *(slice(s, s + edge) for s, edge in zip(starts, PATCH, strict=True)))
    return image[window], labels[window]


def make_dataset():
    """nnU-Net's dataset.json."""
    return {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "brain": 1},
        "numTraining": 12,
        "file_ending": ".nii.gz",
    }


def make_plans():
    """nnU-Net's plans.json of a small network."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH),
        "median_image_size_in_voxels": [27.0, 32.0, 27.0],
        "spacing": [SPACING_MM] * 3,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": make_architecture(),
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset001_Invented",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [SPACING_MM] * 3,
        "original_median_shape_after_transp": [27, 32, 27],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [1, 0, 2],  # not the identity, so that going back matters
        "transpose_backward": [1, 0, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 100.0, "std": 20.0}},
    }


def make_architecture():
    """The plain U-Net of the plans."""
    n_stages = len(FEATURES)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": n_stages,
            "features_per_stage": list(FEATURES),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * n_stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (n_stages - 1),
            "n_conv_per_stage": [1] * n_stages,
            "n_conv_per_stage_decoder": [1] * (n_stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
