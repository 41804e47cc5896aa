"""The encoders of others written out again: names and shapes of their checkpoints, and what they compute.

From the formulas, with `torch.nn.functional` and SciPy; nothing of this project and nothing of MONAI.
"""

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

# ---- checkpoints ----


def fill(layout, seed=0):
    """Random tensors of these shapes; scales and variances about 1, counters 0, so that nothing dies out."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in layout.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            tensors[name] = 0.5 + noise.abs()
        elif len(shape) == 1 and name.endswith("weight"):
            tensors[name] = 1 + 0.1 * noise
        else:
            tensors[name] = noise * max(1, int(np.prod(shape[1:]))) ** -0.5 if len(shape) > 1 else 0.1 * noise
    return tensors


def lay_out_linear(name, n_in, n_out, has_bias=True):
    return {f"{name}.weight": (n_out, n_in), **({f"{name}.bias": (n_out,)} if has_bias else {})}


def lay_out_norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def lay_out_conv(name, n_in, n_out, kernel, has_bias=False):
    return {
        f"{name}.weight": (n_out, n_in, *[kernel] * 3),
        **({f"{name}.bias": (n_out,)} if has_bias else {}),
    }


def lay_out_batch_norm(name, width):
    running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return {**lay_out_norm(name, width), **running, f"{name}.num_batches_tracked": ()}


# ---- inputs ----


def restore(image, mask):
    return np.where(mask, image - image[mask].min(), 0).astype(np.float64)


def resample(volume, shape):
    """Linear between voxel centres, the outermost voxels going on outside."""
    axes = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(volume.shape, shape, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(volume, places, order=1, mode="nearest")


def z_score(volume, where):
    return (volume - volume[where].mean()) / volume[where].std()


def to_batch(*channels):
    return torch.from_numpy(np.stack(channels).astype(np.float32))[None]


# ---- transformers ----


def attend(q, k, v, bias=0.0):
    """softmax(q k' / sqrt(c) + bias) v of one head, (n, c) each."""
    return torch.softmax(q @ k.T / q.shape[1] ** 0.5 + bias, dim=1) @ v


def norm(x, t, name):
    return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-5)


def linear(x, t, name):
    return functional.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def perceptron(x, t, name, first="linear1", second="linear2"):
    hidden = linear(x, t, f"{name}.{first}")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return linear(hidden, t, f"{name}.{second}")


def self_attend(x, t, name, n_heads, bias=None):
    """Heads one after another; bias: (heads, n, n). Gives what the last linear layer takes."""
    width, out = x.shape[1], []
    qkv = linear(x, t, f"{name}.qkv")
    for h in range(n_heads):
        q, k, v = (
            qkv[:, part * width :][:, h * width // n_heads : (h + 1) * width // n_heads] for part in range(3)
        )
        out.append(attend(q, k, v, 0.0 if bias is None else bias[h]))
    return torch.cat(out, dim=1)


# ---- ResNets ----


def lay_out_resnet(depths=(3, 4, 6, 3), width=64, has_shortcut_bias=False):
    layout = {**lay_out_conv("conv1", 1, width, 7), **lay_out_batch_norm("bn1", width)}
    n_in = width
    for k, depth in enumerate(depths):
        inner, n_out = width * 2**k, width * 2**k * 4
        for i in range(depth):
            name = f"layer{k + 1}.{i}"
            for j, (a, b, kernel) in enumerate(
                ((n_in, inner, 1), (inner, inner, 3), (inner, n_out, 1)), start=1
            ):
                layout |= lay_out_conv(f"{name}.conv{j}", a, b, kernel) | lay_out_batch_norm(
                    f"{name}.bn{j}", b
                )
            if i == 0:
                layout |= lay_out_conv(f"{name}.downsample.0", n_in, n_out, 1, has_shortcut_bias)
                layout |= lay_out_batch_norm(f"{name}.downsample.1", n_out)
            n_in = n_out
    return layout


def batch_norm(x, t, name):
    parts = (t[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    mean, variance, scale, shift = (part[:, None, None, None] for part in parts)
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def run_resnet(x, t, depths, strides, dilations):
    """The mean over the last map: (B, 1, D, H, W) -> (B, channels)."""
    x = batch_norm(functional.conv3d(x, t["conv1.weight"], stride=2, padding=3), t, "bn1").clamp(min=0)
    x = functional.max_pool3d(x, 3, stride=2, padding=1)
    for k, (depth, stride, dilation) in enumerate(zip(depths, strides, dilations, strict=True)):
        for i in range(depth):
            name, step = f"layer{k + 1}.{i}", stride if i == 0 else 1
            y = batch_norm(functional.conv3d(x, t[f"{name}.conv1.weight"]), t, f"{name}.bn1").clamp(min=0)
            y = functional.conv3d(y, t[f"{name}.conv2.weight"], None, step, dilation, dilation)
            y = batch_norm(y, t, f"{name}.bn2").clamp(min=0)
            y = batch_norm(functional.conv3d(y, t[f"{name}.conv3.weight"]), t, f"{name}.bn3")
            if i == 0:
                bias = t.get(f"{name}.downsample.0.bias")
                x = functional.conv3d(x, t[f"{name}.downsample.0.weight"], bias, step)
                x = batch_norm(x, t, f"{name}.downsample.1")
            x = (x + y).clamp(min=0)
    return x.mean(dim=(2, 3, 4))
