"""The errors a user can meet: each message says what is wrong, where, and what to do."""

from __future__ import annotations

import sys
import unicodedata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]  # the checkout; of an installed package the folder of all packages


def show_text(text: str, kept: str = "\n\t") -> str:
    """Text in which control characters, which a terminal obeys, are spelled out (`\\x1b`): names hold some.

    So are those that turn the direction of writing, and bytes of a name that are no UTF-8.

    Args:
        kept: characters that stay; of a name none.
    """

    def is_shown(sign: str) -> bool:
        kind = unicodedata.category(sign)
        return sign in kept or not (kind[0] == "C" or kind in ("Zl", "Zp"))

    return "".join(sign if is_shown(sign) else ascii(sign)[1:-1] for sign in text)


class BrainG3nError(Exception):
    """A fault that one sentence explains; the command line prints it and exits with its status."""

    exit_status = 2

    def __str__(self) -> str:
        return show_text(super().__str__())


class ConfigurationError(BrainG3nError):
    """The configuration cannot be used; raised before the DAG is built."""


class CohortError(BrainG3nError):
    """A cohort's folder or tables are not what its file expects."""


class ResourceError(BrainG3nError):
    """An atlas, template or weight file is missing, damaged or cannot be fetched."""


class MissingPackageError(BrainG3nError):
    """A package that an extra installs is not there."""


class ContractError(BrainG3nError):
    """A table that crosses a stage breaks its contract."""


class CheckpointError(BrainG3nError):
    """A weight file does not fit the model that should take it."""


class MissingWeightsError(BrainG3nError):
    """Weights that a user brings are not there: what needs them is n/a, and this sentence is its reason."""


class StorageError(BrainG3nError):
    """A disk is full, a quota used up or a folder read-only: no fault of a scan, so the job stops."""


class ScanError(BrainG3nError):
    """One scan cannot be used; it becomes a row in the exclusions and the rest continues."""


class StoppedError(BrainG3nError):
    """A training job was asked to end (SIGTERM) and has saved its state; it is to be started again."""

    exit_status = 143  # 128 + SIGTERM, as if it had not been caught


# What is installed with an extra only: the module that is imported -> the extra.
EXTRAS = {
    **dict.fromkeys(("ants", "SimpleITK", "dcm2niix", "deepbet", "pydicom"), "preprocess"),
    "nnunetv2": "hd-bet",
    "torch_fidelity": "fidelity",
    **dict.fromkeys(("snakemake", "xlwt"), "workflow"),
}


def name_extra(module: str) -> str:
    """The sentence about a module that an extra would install; empty: no extra has it."""
    extra = EXTRAS.get(module.partition(".")[0])
    return f"'{module}' is not installed; add it in the checkout: pip install '.[{extra}]'." if extra else ""


def require(*modules: str) -> None:
    """Check that modules of an extra are there before work begins that needs them.

    Raises:
        MissingPackageError: names the first that is missing, and the extra.
    """
    for module in modules:
        if sys.modules.get(module, module) is None or find_spec(module) is None:
            raise MissingPackageError(name_extra(module))


def require_checkout(what: str) -> None:
    """Check that there is a checkout around the package, before something of it is read or written.

    Raises:
        BrainG3nError: the package was installed alone.
    """
    if not (ROOT / "Snakefile").is_file():
        raise BrainG3nError(f"{what}: needs the whole repository, not the package alone; run it in a clone.")
