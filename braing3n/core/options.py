"""Options that commands of several stages have, each described once."""

import math
import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from braing3n.core.errors import BrainG3nError


def parse_whole(_: Any, tokens: Any) -> int:
    """The whole number that was typed; by itself, cyclopts would take 1.5 for 1.

    Raises:
        ValueError: it is none.
    """
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'"{text}" is no whole number')
    return int(text)


def parse_number(_: Any, tokens: Any) -> float:
    """The number that was typed; by itself, cyclopts would take nan, which means "not given", for one.

    Raises:
        ValueError: it is none, or not finite.
    """
    text = tokens[0].value
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'"{text}" is no finite number')
    return number


def list_shards(folder: Path, shards: list[str], suffix: str) -> list[Path]:
    """The files of all shards below a stage's folder, in order: a run has hundreds, too many for a command.

    Raises:
        BrainG3nError: an entry is not <cohort>:<number>.
    """
    found = []
    for entry in shards:
        match = re.fullmatch(r"([a-z][a-z0-9_]*):([0-9]+)", entry)
        if not match:
            raise BrainG3nError(f"--shards {entry}: give a cohort and its number of shards, such as ixi:3.")
        found += [folder / match[1] / f"shard-{n:03d}{suffix}" for n in range(int(match[2]))]
    return found


# All words up to the next option.
Paths = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]
Names = Annotated[list[str], Parameter(consume_multiple=True, negative="")]
Shards = Annotated[
    list[str],
    Parameter(
        consume_multiple=True, negative="", help="Cohorts and how many shards each has, such as ixi:3 lab:1."
    ),
]
Cohorts = Annotated[
    list[str], Parameter(consume_multiple=True, negative="", help="Names of the cohorts (keys).")
]
SettingsDir = Annotated[Path, Parameter(help="Folder of the run's settings files.")]
VolumeList = Annotated[Path, Parameter(help="The volume list (.parquet).")]
VolumesDir = Annotated[Path, Parameter(help="Folder of the packed volumes.")]
Labels = Annotated[Path, Parameter(help="The label table (.parquet).")]
Checkpoints = Annotated[
    Path | None,
    Parameter(
        help="Folder of the runs, one for each digest of what was trained from; else beside the weights."
    ),
]
TrainedWeights = Annotated[
    Path, Parameter(help="Weight file to make (.safetensors), a hard link to the run's.")
]
Threads = Annotated[
    int, Parameter(help="CPU threads; where something trains, the same number gives the same bits.")
]
Seed = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=0, lt=2**32))]
Number = Annotated[float, Parameter(converter=parse_number, show_default=False)]  # NaN: not given
Count = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=0))]
OneOrMore = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=1))]
