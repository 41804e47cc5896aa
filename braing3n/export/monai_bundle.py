"""A model folder's encoder as a MONAI bundle that reads volumes and writes their features by itself."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braing3n import __version__
from braing3n.core.runtime import write_atomically, write_if_changed
from braing3n.core.settings import validate
from braing3n.export import files
from braing3n.export.pretrained import Pretrained, from_pretrained
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.settings import PretrainSettings
from braing3n.volumes.pack import load_volume
from braing3n.volumes.settings import VolumesSettings

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
HERE = __name__
AUTHORS = "The authors of braing3n"
README = """\
# {name}

The encoder of a BrainG3N model folder: a brain MRI in SRI24 and its brain mask to {width} features, the mean
over the tokens of a masked autoencoder. For research only; not a medical device.

```
python -m monai.bundle run --bundle_root . --output features.npy \\
  --meta_file configs/metadata.json --config_file configs/inference.json \\
  --images "['sub-01_space-SRI24_desc-preproc_T1w.nii.gz']" \\
  --masks "['sub-01_space-SRI24_desc-brain_mask.nii.gz']"
```

`features.npy` is float32 (volumes, {width}), in the order of the images. `braing3n preprocess` brings a raw
scan to SRI24 and finds its brain. The network and the reader of volumes are those of the package `braing3n`
{version}.
"""


class FeatureEncoder(nn.Module):
    """The masked autoencoder's encoder as a network of one input: (B, 1, D, H, W) to features (B, F)."""

    def __init__(self, settings: dict[str, Any], shape: list[int]):
        super().__init__()
        d, h, w = shape
        self.encoder = MaskedAutoencoder(validate(PretrainSettings, settings, "network_def"), (d, h, w))

    def forward(self, volume: Tensor) -> Tensor:
        return self.encoder.encode(volume).mean(dim=1)


class ReadVolume:
    """A transform: a scan's `image` and `mask`, in SRI24, to the encoder's input, float32 (1, D, H, W)."""

    def __init__(self, **settings: Any):
        self.settings = validate(VolumesSettings, settings, "preprocessing")

    def __call__(self, item: dict[str, str]) -> Tensor:
        return torch.from_numpy(load_volume(item["image"], item["mask"], self.settings)[0])[None]


@torch.no_grad()
def write_features(network: nn.Module, batches, device: torch.device, path: str) -> None:
    """Write the features float32 (N, F) of all batches (.npy)."""
    found = [network(batch.to(device)).cpu().numpy() for batch in batches]
    with write_atomically(path) as beside:
        np.save(beside, np.concatenate(found))


def write_bundle(folder: str | Path, out_dir: Path) -> None:
    """Write the bundle of a model folder; its `model.pt` is for MONAI, and braing3n never reads it.

    Raises:
        BrainG3nError: the folder cannot be loaded, or the bundle cannot be written.
    """
    folder = files.find_folder(folder)
    model, content = from_pretrained(folder, "cpu"), files.read_config(folder)
    name, licence = str(content.get("name", "braing3n")), str(content.get("licence", "other"))
    network = describe_network(model)
    module = FeatureEncoder(**{name: value for name, value in network.items() if name != "_target_"})
    module.encoder.load_state_dict(model.encoder.state_dict())
    with write_atomically(out_dir / "models" / "model.pt") as beside:
        torch.save(module.state_dict(), beside)
    width = model.encoder.settings.width
    texts = {
        "configs/metadata.json": _as_text(describe_bundle(model, name, licence)),
        "configs/inference.json": _as_text(describe_inference(model, network)),
        "docs/README.md": README.format(name=name, width=width, version=__version__),
        "LICENSE": f"SPDX-License-Identifier: {licence}\n",
    }
    for path, text in texts.items():
        write_if_changed(out_dir / path, text)


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def describe_network(model: Pretrained) -> dict[str, Any]:
    """The network as MONAI builds it."""
    return {
        "_target_": f"{HERE}.FeatureEncoder",
        "settings": model.encoder.settings.model_dump(mode="json"),
        "shape": list(model.encoder.shape),
    }


def describe_inference(model: Pretrained, network: dict[str, Any]) -> dict[str, Any]:
    """The content of `configs/inference.json`; images, masks and output are given on MONAI's command line."""
    return {
        "imports": ["$import torch", f"$from {HERE} import write_features"],
        "bundle_root": ".",
        "images": [],
        "masks": [],
        "output": "$@bundle_root + '/features.npy'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device).eval()",
        "weights": "$@bundle_root + '/models/model.pt'",
        "preprocessing": {"_target_": f"{HERE}.ReadVolume", **model.volumes.model_dump(mode="json")},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image, 'mask': mask} for image, mask in zip(@images, @masks, strict=True)]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "initialize": [
            "$@network.load_state_dict(torch.load(@weights, map_location=@device, weights_only=True))"
        ],
        "run": ["$write_features(@network, @dataloader, @device, @output)"],
    }


def describe_bundle(model: Pretrained, name: str, licence: str) -> dict[str, Any]:
    """The content of `configs/metadata.json`."""
    shape = list(model.encoder.shape)
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": 1,
        "spatial_shape": shape,
    }
    image |= {
        "dtype": "float32",
        "value_range": [-64, 64],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    features = {"type": "feature", "format": "vector", "num_channels": model.encoder.settings.width}
    features |= {"spatial_shape": [], "dtype": "float32", "value_range": []}
    return {
        "schema": SCHEMA,
        "name": name,
        "version": __version__,
        "changelog": {__version__: "exported"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"braing3n": __version__, "nibabel": version("nibabel")},
        "task": "Features of brain MRI",
        "description": "A masked autoencoder's encoder: a brain MRI in SRI24 to the mean of its tokens.",
        "authors": AUTHORS,
        "copyright": f"{AUTHORS}; {licence}",
        "data_type": "nibabel",
        "image_classes": "one channel, z-scored inside the brain and 0 outside",
        "pred_classes": f"{model.encoder.settings.width} features",
        "intended_use": "Research only; not a medical device.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": features}},
    }
