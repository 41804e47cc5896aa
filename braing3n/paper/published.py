"""The numbers that the paper printed, read from the file beside this module, as text."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

LOST = "lost"


@cache
def read_published() -> dict:
    """`table_1`, `table_2a`, `table_3`, `table_5` and `table_7`: lists of rows; `table_2b`: condition to
    two; `table_6`: task to six cells; `table_8`: arm to three; `counts`: what the paper counts in Table 1
    and Appendix F.

    `disease_coverage`: diagnosis to volumes; `metadata_coverage`: field to share; `corpus`: of the whole.

    A task whose cells are lost maps to `LOST`.
    """
    # The base loader leaves 1.000 the text that the paper printed.
    return yaml.load(Path(__file__).with_name("published.yaml").read_text(), Loader=yaml.BaseLoader)
