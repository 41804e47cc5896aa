"""What every section of the configuration is made of: settings, and mistakes as one sentence."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from braing3n.core.errors import ConfigurationError

if TYPE_CHECKING:
    from braing3n.config import Config

Precision = Literal["float32", "bfloat16", "auto"]  # auto: bfloat16 on CUDA and CPUs with AMX, else float32
Solver = Literal["euler", "adams_bashforth"]  # of a flow, see nets/flow.py
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what the generators of NumPy, PyTorch and ANTs all take
Beta = Annotated[float, Field(ge=0, lt=1)]


def _check_each_once(values: tuple) -> tuple:
    """Refuse a list that names something twice: it would be done, and counted, twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} stands there twice")
    return values


EachOnce = AfterValidator(_check_each_once)
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # part of a folder's and a rule's name


def setting(
    default: Any,
    description: str,
    provenance: str = "chosen",
    unit: str = "",
    given: tuple[str, ...] = (),
    is_apart: bool = False,
    **bounds,
):
    """A field whose provenance (`given`, `derived`, `chosen`) says whether the number is the paper's.

    given: of a section that stands in several places, the fields that are the paper's in this one.
    is_apart: the field has a settings file of its own, since what reads the section does not depend on it.
    """
    extra: JsonDict = {"provenance": provenance, "unit": unit}
    if given:
        extra["given"] = list(given)
    if is_apart:
        extra["is_apart"] = True
    kind = "default_factory" if callable(default) else "default"
    return Field(**{kind: default}, description=description, json_schema_extra=extra, **bounds)


def read_extra(field: FieldInfo) -> JsonDict:
    """What `setting` says of a field beside its type."""
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


class Settings(BaseModel):
    """One section of the configuration; unknown keys are errors, and so are infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def list_apart(cls) -> list[str]:
        """The fields that have settings files of their own."""
        return [name for name, field in cls.model_fields.items() if read_extra(field).get("is_apart")]

    def as_json(self) -> str:
        """The section as text with sorted keys, without what stands apart."""
        return json.dumps(self.model_dump(mode="json", exclude=set(self.list_apart())), sort_keys=True)


def split_section(name: str, section: Settings) -> Iterator[tuple[str, str]]:
    """The settings files of a section, name and JSON text: its own, and one for each field that is apart."""
    yield name, section.as_json()
    for part in section.list_apart():
        value = getattr(section, part)
        if isinstance(value, Settings):
            yield from split_section(f"{name}.{part}", value)
        else:
            yield f"{name}.{part}", json.dumps(section.model_dump(mode="json")[part], sort_keys=True)


def given_weights() -> str:
    """The setting of weights that somebody has; nothing that is made depends on where they lie."""
    return setting("", "weight file to start from in place of training; empty: train", exclude=True)


class ResourceSettings(Settings):
    """Local files that win over fetched ones."""

    paths: dict[str, str] = setting(dict, "resource name -> local path; wins over fetching")
    sha256: dict[str, str] = setting(
        dict, "resource name -> digest that the local path must have; none: it is not checked"
    )


class OptimiserSettings(Settings):
    """AdamW with a warm-up and a schedule; where a field is the paper's, the section that has it says so."""

    lr: float = setting(1e-4, "peak learning rate", gt=0)
    weight_decay: float = setting(0.05, "decoupled decay", ge=0)
    betas: tuple[Beta, Beta] = setting((0.9, 0.95), "AdamW's two")
    batch_size: int = setting(256, "volumes a step, over all devices", ge=1)
    n_epochs: int = setting(100, "passes over the training split", ge=1)
    n_warmup_epochs: float = setting(10.0, "linear warm-up", ge=0)
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "of the learning rate after the warm-up: half a cosine to 0, or the peak to the end"
    )
    gradient_clip: float = setting(0.0, "largest gradient norm; 0: no clipping", ge=0)
    precision: Precision = setting("bfloat16", "autocast type; auto: bfloat16 where it is the faster")
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


def parse_section(model: type[Settings], source: str | Path) -> Any:
    """A section from its settings file (.json), its JSON text, or a configuration file (.yaml).

    Of a configuration, the section is the field of `Config`, or of one of its sections, of this type.
    """
    text = str(source)
    if text.lstrip().startswith("{") or text.endswith(".json"):
        return validate(model, read_settings(text), "--settings" if text.lstrip().startswith("{") else text)
    config = read_config(text)
    sections = [config, *(getattr(config, name) for name in type(config).model_fields)]
    parts = [part for section in sections if isinstance(section, Settings) for _, part in section]
    found = [part for part in parts if type(part) is model]
    if len(found) == 1:
        return found[0]
    raise ConfigurationError(f"{text}: has no one section for {model.__name__}.")


def read_config(path: str | Path) -> Config:
    """A whole configuration file; `braing3n.config`, which knows all sections, checks it."""
    from braing3n.config import load_config

    return load_config(path)


def read_settings(source: str | Path) -> Any:
    """The content of a settings file, or of JSON text.

    Raises:
        ConfigurationError: it cannot be read.
    """
    text = str(source)
    try:
        return json.loads(text if text.lstrip()[:1] in ("{", "[") else Path(text).read_text())
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"--settings: not valid JSON ({error}).") from None
    except OSError as error:
        raise ConfigurationError(f"{text}: cannot be read ({error.strerror}).") from None


def _explain(model: type[Settings], error: ErrorDetails) -> str:
    """One sentence for pydantic's first complaint."""
    # Behind the key pydantic names the kind of number or none that did not fit.
    location = [str(part) for part in error["loc"] if part not in ("constrained-int", "[key]")]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}."
        return f"unknown key '{key}'; {hint}"
    message = _reword(error)
    return f"'{key}': {message}." if key else f"{message}."


def _reword(error: ErrorDetails) -> str:
    """Pydantic's complaint in the words of a configuration file."""
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping of settings, not {error['input']!r}"
    if error["type"] == "string_pattern_mismatch":  # of a `Name`
        return f"{error['input']!r} must be lower-case letters, digits and _, and begin with a letter"
    return re.sub(r"^(Value error, |(Input|String) should )", lambda m: "must " if m[2] else "", error["msg"])


def _known_keys(model: type[Settings], location: list[str]) -> list[str]:
    """The keys allowed at a location inside a model."""
    for part in location:
        field = model.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        model = next((kind for kind in kinds if _is_section(kind)), model)
    return sorted(model.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)
