"""Take over the encoder of a release whose format is not known: which of its tensors are which of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from braing3n.core.errors import CheckpointError
from braing3n.nets.checkpoint import read_checkpoint
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.training import write_weights

# How MAE, timm, MONAI and Hugging Face name the same parts, rewritten from top to bottom into our names.
SPELLINGS = (
    (r"^((module|_orig_mod|model|net|mae|autoencoder|vit|encoder|backbone)\.)+", ""),
    (r"^decoder\.(decoder_)?", "decoder_"),
    (r"^(decoder_)?(layers?|transformer\.blocks|transformer\.layers)\.(?=\d)", r"\1blocks."),
    (r"^(patch_embed\w*|embeddings)\.(patch_embeddings|proj|projection)\.(projection\.|1\.)?", "embed."),
    (r"^(layernorm|layer_norm|ln|ln_f|final_norm|encoder_norm)\.", "norm."),
    (r"^decoder_(layernorm|layer_norm|ln|final_norm)\.", "decoder_norm."),
    (r"^(decoder_)?mask_tokens?$", "mask_token"),
    (r"^(decoder_pred\w*|decoder_head|head|to_pixels)\.", "predict."),
    (r"\.(layernorm_before|norm_1|ln_?1|attention_norm)\.", ".norm1."),
    (r"\.(layernorm_after|norm_2|ln_?2|ffn_norm)\.", ".norm2."),
    (r"\.(attn|self_attn|self_attention|attention\.(attention|self))\.", ".attention."),
    (r"\.attention\.(proj|out_proj|to_out(\.0)?|output\.dense)\.", ".attention.project."),
    (r"\.attention\.(to_qkv|in_proj|qkv_proj)\.", ".attention.qkv."),
    (r"\.attention\.in_proj_(weight|bias)$", r".attention.qkv.\1"),
    (r"\.(mlp\.(fc1|linear1|c_fc)|ffn\.(0|fc1)|intermediate\.dense)\.", ".mlp.0."),
    (r"\.(mlp\.(fc2|linear2|c_proj|3)|ffn\.(2|3|fc2)|output\.dense)\.", ".mlp.2."),
)
APART = re.compile(r"(.*\.attention)\.(?:to_)?(q|k|v|query|key|value)(?:_proj)?\.(weight|bias)$")


@dataclass
class Mapping:
    """What became of a release.

    Attributes:
        tensors: by our names.
        sources: by our names, the names in the release.
        unmapped: by names in the release, why they are not taken.
        missing: our names that the release does not have, and what they are instead; None: nothing will do.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)
    unmapped: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str | None] = field(default_factory=dict)


def map_release(tensors: dict[str, Tensor], model: MaskedAutoencoder) -> Mapping:
    """Give a release's tensors our names, where name and shape say what they are.

    A convolution over patches is the same as our linear layer; queries, keys and values that lie apart are
    joined. The encoder must be whole. A decoder that is not there stays as the model has it, since features
    do not need it, and a bias that is not there is zero.
    """
    wanted, found = model.state_dict(), Mapping()
    named: dict[str, dict[str, str]] = {}  # our name -> which part of it -> name in the release
    for name in tensors:
        ours, part = _respell(name, len(model.blocks), len(model.decoder_blocks))
        if ours not in wanted:
            found.unmapped[name] = "nothing of ours has this name"
        elif part in named.setdefault(ours, {}):
            found.unmapped[name] = f"{named[ours][part]} is {ours} already"
        else:
            named[ours][part] = name
    for ours, parts in named.items():
        sources = [parts[part] for part in sorted(parts, key="qkv".index)]
        tensor, shape = torch.cat([tensors[name] for name in sources]), wanted[ours].shape
        matrix = tensor.flatten(1) if tensor.ndim > 1 else tensor  # a kernel over patches is one
        if matrix.shape == shape or tensor.shape == shape:
            found.tensors[ours], found.sources[ours] = tensor.reshape(shape).to(wanted[ours].dtype), sources
        else:
            is_as = f"{_print_shape(tensor.shape)}, {ours} is {_print_shape(shape)}"
            found.unmapped |= dict.fromkeys(sources, is_as)
    for ours, value in wanted.items():
        if ours in found.tensors:
            continue
        is_decoder = ours.startswith("decoder_") or ours.split(".")[0] in ("mask_token", "predict")
        is_bias = ours.endswith("attention.qkv.bias") and ours.replace("bias", "weight") in found.tensors
        stays = "as it starts; features do without" if is_decoder else None
        found.missing[ours] = "zero" if is_bias else stays
        found.tensors[ours] = torch.zeros_like(value) if is_bias else value
    return found


def _respell(name: str, depth: int, decoder_depth: int) -> tuple[str, str]:
    """Our name of a release's tensor, and which of queries, keys and values it is where they lie apart."""
    for pattern, spelling in SPELLINGS:
        name = re.sub(pattern, spelling, name)
    name = re.sub(rf"^decoder_blocks\.{decoder_depth}\.(weight|bias)$", r"decoder_norm.\1", name)  # MONAI's
    name = re.sub(rf"^blocks\.{depth}\.(weight|bias)$", r"norm.\1", name)
    apart = APART.match(name)
    if apart:
        return f"{apart[1]}.qkv.{apart[3]}", apart[2][0]
    return name, ""


def _print_shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "one number"


def describe_mapping(found: Mapping) -> str:
    """The report: a line for each of our tensors and for each of the release's that was not taken."""
    lines = [f"mapped ({len(found.sources)})"]
    for ours, sources in found.sources.items():
        lines.append(f"  {ours:<40} <- {' + '.join(sources)}  {_print_shape(found.tensors[ours].shape)}")
    lines.append(f"in the release, not taken ({len(found.unmapped)})")
    lines += [f"  {name:<40} {why}" for name, why in found.unmapped.items()]
    lines.append(f"missing in the release ({len(found.missing)})")
    lines += [f"  {name:<40} {instead or 'NEEDED'}" for name, instead in found.missing.items()]
    return "\n".join(lines)


def import_release(path: Path, model: MaskedAutoencoder, weights_path: Path) -> None:
    """Print what maps and what does not, and write the encoder as our own weight file.

    Positions are a fixed code here: where those of the release, which stand among what was not taken, differ,
    so do features.

    Raises:
        CheckpointError: the file cannot be read, or a tensor of the encoder is missing.
    """
    found = map_release(read_checkpoint(path), model)
    print(describe_mapping(found))
    needed = [name for name, instead in found.missing.items() if instead is None]
    if needed:
        listed = ", ".join(needed[:5]) + (f" and {len(needed) - 5} more" if len(needed) > 5 else "")
        raise CheckpointError(
            f"{path}: lacks {listed}, which the encoder needs; compare the report with `pretrain` of the "
            "configuration (depth, width, patch_size)."
        )
    record = {"stage": "pretrain", "imported_from": Path(path).name}
    write_weights(weights_path, found.tensors, type(model).__name__, model.describe() | record)
