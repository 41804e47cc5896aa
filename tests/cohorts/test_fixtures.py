"""The specifications' fixtures give exactly the rows that the specifications print."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from braing3n.cohort import list_cohorts, load_cohort
from braing3n.errors import CohortError
from braing3n.ledger import check_books

from . import fixtures
from .fixtures import CHAPTERS, SPECIFICATIONS, Expected, find_key_words, read_fixture, run_ingest, write_tree

KINDS = [kind for kind in CHAPTERS if kind in list_cohorts()]
