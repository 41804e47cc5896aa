"""What no section can check alone: settings that must fit one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braing3n.core.errors import ConfigurationError
from braing3n.nets.weight_file import read_head

if TYPE_CHECKING:
    from braing3n.config import Config

ENCODER_SIZES = ("patch_size", "depth", "width", "n_heads", "mlp_ratio", "position_code")


def find_misfit(config: Config) -> str:
    """The first pair of settings that do not fit, in one sentence; empty where all do."""
    ratio = config.volumes.spacing_mm / config.preprocess.spacing_mm
    if abs(ratio - round(ratio)) > 1e-6 or ratio < 1:
        return "volumes.spacing_mm must be a whole multiple of preprocess.spacing_mm"
    if any(n % config.pretrain.patch_size for n in config.volumes.shape):
        return "volumes.shape must be divisible by pretrain.patch_size"
    if 2 ** len(config.tokenizer.widths) != config.pretrain.patch_size:
        return "tokenizer.widths must have one width a doubling up to pretrain.patch_size"
    if config.fidelity.precision != config.latents.precision:
        return "fidelity.precision must be latents.precision: their features are compared"
    if config.manifest.train + config.manifest.validation >= 1:
        return "manifest.train and manifest.validation must leave a share for the test split"
    if config.tokenizer.weights and not config.pretrain.weights:
        return "tokenizer.weights needs pretrain.weights: a tokenizer reads the encoder it was trained on"
    for word in ("diffusion", "longitudinal"):
        if getattr(config, word).weights and not config.tokenizer.weights:
            return f"{word}.weights needs tokenizer.weights: a DiT knows the tokens it was trained on"
    return _find_indivisible(config)


def check_given(config: Config) -> None:
    """Weights that are given are there, and of the sizes that are configured.

    Raises:
        ConfigurationError: names the setting, what the file has and what is configured.
    """
    pretrain, shape = config.pretrain, list(config.volumes.shape)
    grid = [n // pretrain.patch_size for n in shape]
    sizes = {name: getattr(pretrain, name) for name in ENCODER_SIZES}
    patches = {"patch_size": pretrain.patch_size, "grid": grid}
    wanted: dict[str, tuple[str, dict]] = {
        "pretrain": ("MaskedAutoencoder", {"shape": shape, "settings": sizes}),
        "tokenizer": ("Tokenizer", {"encoder_width": pretrain.width, **patches}),
        "diffusion": ("DiT", {"grid": grid}),
        "longitudinal": ("Bridge", {"grid": grid}),
    }
    for word, (model, facts) in wanted.items():
        path = getattr(config, word).weights
        if not path:
            continue
        record = read_head(path)
        if record.get("model") != model:
            found = record.get("model", "no model of ours")
            raise ConfigurationError(f"{word}.weights: {path} holds {found}, not {model}.")
        _compare(word, path, record, facts)


def _compare(word: str, path: str, record: dict, facts: dict) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            _compare(word, path, record.get(name) or {}, value)
        elif record.get(name) != value:
            raise ConfigurationError(
                f"{word}.weights: {path} has {name} {record.get(name)}, and {value} is configured "
                "(pretrain, volumes.shape); configure the sizes of the file."
            )


def _find_indivisible(config: Config) -> str:
    """A width that its heads, or the three axes of the sine-cosine code, do not divide."""
    widths = {
        "pretrain.width": (config.pretrain.width, config.pretrain.n_heads),
        "pretrain.decoder_width": (config.pretrain.decoder_width, config.pretrain.decoder_n_heads),
    }
    for name, (width, n_heads) in widths.items():
        if width % 6 or width % n_heads:
            return f"{name}: {width} must be divisible by 6 and by its {n_heads} heads"
    for word in ("diffusion", "longitudinal"):
        if getattr(config, word).width % getattr(config, word).n_heads:
            return f"{word}.width must be divisible by {word}.n_heads"
    return ""
