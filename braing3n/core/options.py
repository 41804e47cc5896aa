"""Options that commands of several stages have, each described once."""

import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators


def parse_whole(_: Any, tokens: Any) -> int:
    """The whole number that was typed; by itself, cyclopts would take 1.5 for 1.

    Raises:
        ValueError: it is none.
    """
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'"{text}" is no whole number')
    return int(text)


# All words up to the next option.
Paths = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]
Names = Annotated[list[str], Parameter(consume_multiple=True, negative="")]
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
Count = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=0))]
OneOrMore = Annotated[int, Parameter(converter=parse_whole, validator=validators.Number(gte=1))]
