"""What every section of the configuration is made of: settings, and mistakes as one sentence."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from braing3n.core.errors import ConfigurationError


def setting(
    default: Any,
    description: str,
    provenance: str = "chosen",
    unit: str = "",
    given: tuple[str, ...] = (),
    **bounds,
):
    """A field whose provenance (`given`, `derived`, `chosen`) says whether the number is the paper's.

    given: of a section that stands in several places, the fields that are the paper's in this one.
    """
    extra = {"provenance": provenance, "unit": unit} | ({"given": list(given)} if given else {})
    kind = "default_factory" if callable(default) else "default"
    return Field(**{kind: default}, description=description, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """One section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def as_json(self, without: tuple[str, ...] = ()) -> str:
        """The section as text with sorted keys, so that Snakemake compares it by content.

        without: fields of which the rule's outputs do not depend, so that a change replans nothing there.
        """
        return dump_json(self.model_dump(mode="json", exclude=set(without)))


def dump_json(content: Any) -> str:
    """JSON with sorted keys, in which `{shard}` of a path is no wildcard of Snakemake's."""
    return re.sub(r"\{(?=\s*\w)", r"\\u007b", json.dumps(content, sort_keys=True))


class OptimiserSettings(Settings):
    """AdamW with a warm-up and a schedule; where a field is the paper's, the section that has it says so."""

    lr: float = setting(1e-4, "peak learning rate", gt=0)
    weight_decay: float = setting(0.05, "decoupled decay", ge=0)
    betas: tuple[float, float] = setting((0.9, 0.95), "AdamW's two")
    batch_size: int = setting(256, "volumes a step, over all devices", ge=1)
    n_epochs: int = setting(100, "passes over the training split", ge=1)
    n_warmup_epochs: float = setting(10.0, "linear warm-up", ge=0)
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "of the learning rate after the warm-up: half a cosine to 0, or the peak to the end"
    )
    gradient_clip: float = setting(0.0, "largest gradient norm; 0: no clipping", ge=0)
    precision: Literal["float32", "bfloat16"] = setting("bfloat16", "autocast type")
    n_accumulation_steps: int = setting(
        1, "parts of its batch that a device takes one after another, to save memory", ge=1
    )
    recompute_activations: bool = setting(
        False, "activation checkpointing: blocks keep their input only; far less memory, a third more time"
    )
    compile_blocks: bool = setting(
        False, "blocks through torch.compile: a minute or two at the start, fewer trips to memory after it"
    )
    checkpoint_every_steps: int = setting(200, "steps between checkpoints", ge=1)
    n_checkpoints_kept: int = setting(2, "the last so many checkpoints stay, beside the best weights", ge=1)
    validate_every_epochs: int = setting(5, "epochs between validation losses", ge=1)


def validate(model: type[Settings], data: Any, where: str) -> Any:
    """A section from a mapping.

    Raises:
        ConfigurationError: one sentence that says where, which key, and the key that was probably meant.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where}: must be a mapping of settings, not {type(data).__name__}.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_explain(model, error.errors()[0])}") from None


def _explain(model: type[Settings], error: dict) -> str:
    """One sentence for pydantic's first complaint."""
    # Behind the key pydantic names the kind of number or none that did not fit.
    location = [str(part) for part in error["loc"] if part != "constrained-int"]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}."
        return f"unknown key '{key}'; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"'{key}': {message}." if key else f"{message}."


def _known_keys(model: type[Settings], location: list[str]) -> list[str]:
    """The keys allowed at a location inside a model."""
    for part in location:
        field = model.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        model = next((kind for kind in kinds if _is_section(kind)), model)
    return sorted(model.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)
