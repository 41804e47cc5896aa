"""HD-BET version 2: an nnU-Net model folder, predicted in this process from arrays.

Source: Isensee et al. 2019, Human Brain Mapping 40 (17); Isensee et al. 2021, Nature Methods 18.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np

from braing3n.core.errors import ResourceError
from braing3n.preprocess.brain.hd_bet_model import Model, load_as_weights
from braing3n.preprocess.read.masks import FindBrain
from braing3n.preprocess.read.scan import Volume

TILE_STEP = 0.5  # of the patch, between two windows: what nnU-Net and HD-BET take


def load_hd_bet(model: Model, use_mirroring: bool) -> FindBrain:
    """Build the network once and load all its folds.

    Raises:
        ResourceError: nnU-Net cannot build it, or it is not made for one scan at a time.
    """
    with _hush(), load_as_weights():
        try:
            predictor, n_channels = _build_predictor(model, use_mirroring)
        except (ImportError, AssertionError, RuntimeError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise ResourceError(f"{model.folder}: nnU-Net cannot build its network ({why}).") from None
    if n_channels != 1:
        raise ResourceError(
            f"{model.folder}: its network takes {n_channels} images at a time, brain extraction gives one; "
            "name HD-BET's folder."
        )
    return lambda scan: _find_brain(scan, predictor)


def _build_predictor(model: Model, use_mirroring: bool):
    """nnU-Net's predictor with all weights, and the number of images that its network takes."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    has_benchmark = torch.backends.cudnn.benchmark
    predictor = nnUNetPredictor(
        tile_step_size=TILE_STEP, use_mirroring=use_mirroring, device=device, allow_tqdm=False
    )
    # nnU-Net lets cuDNN take the fastest kernel of the moment, which is not always the same numbers.
    torch.backends.cudnn.benchmark = has_benchmark
    predictor.initialize_from_trained_model_folder(str(model.folder), model.folds)
    n_channels = determine_num_input_channels(
        predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
    )
    return predictor, n_channels


def _find_brain(scan: Volume, predictor) -> np.ndarray:
    """The brain mask (bool, X x Y x Z) of a head.

    nnU-Net's own steps for one array, but for the export's threads: it would take eight.
    """
    import torch
    from nnunetv2.inference import export_prediction

    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    with _hush():
        image = scan.data.transpose(2, 1, 0)[None]  # (1, S, A, R), as SimpleITK reads what it is trained on
        properties = {"spacing": [float(edge) for edge in scan.spacing_mm[::-1]]}
        image, _, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
            image, None, properties, plans, configuration, predictor.dataset_json
        )
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image))
        labels = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, predictor.label_manager, properties, False, torch.get_num_threads()
        )
    return np.ascontiguousarray(labels.transpose(2, 1, 0) > 0)


@contextlib.contextmanager
def _hush() -> Iterator[None]:
    """nnU-Net warns of folders that only its training needs."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
