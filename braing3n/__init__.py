"""BrainG3N: raw brain MRI to the paper's tables, one folder a stage.

Three functions stand at the top: `preprocess_scans` brings scans to SRI24, `from_pretrained` loads a model
folder, and `load_config` reads a configuration. They are imported when they are first used.

>>> import braing3n
>>> braing3n.load_config("config/demo.yaml").preprocess.spacing_mm
4.0
"""

from importlib import import_module
from typing import TYPE_CHECKING

from braing3n.core.process import let_threads_yield

__version__ = "0.1.0"

# The stages in the order in which data flows; each word names a rule file, a package folder,
# a test folder and a configuration section.
WORDS = (
    "inventory",
    "ingest",
    "preprocess",
    "volumes",
    "manifest",
    "pretrain",
    "tokenizer",
    "latents",
    "sweep",
    "diffusion",
    "longitudinal",
    "probe",
    "control",
    "fidelity",
    "memorization",
    "export",
    "paper",
)

# The public functions, and the modules that hold them.
PUBLIC = {
    "from_pretrained": "braing3n.export.pretrained",
    "load_config": "braing3n.config",
    "preprocess_scans": "braing3n.apply.api",
}
__all__ = ["WORDS", "__version__", *PUBLIC]

if TYPE_CHECKING:
    from braing3n.apply.api import preprocess_scans as preprocess_scans
    from braing3n.config import load_config as load_config
    from braing3n.export.pretrained import from_pretrained as from_pretrained

let_threads_yield()


def __getattr__(name: str):
    """A public function, imported once it is asked for; so `import braing3n` loads no library."""
    if name not in PUBLIC:
        raise AttributeError(f"braing3n has no '{name}'; it offers {', '.join(sorted(PUBLIC))}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    """What the package offers."""
    return sorted([*globals(), *PUBLIC])
