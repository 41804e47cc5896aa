"""BrainG3N: raw brain MRI to the paper's tables, one folder a stage."""

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
    "probe",
    "fidelity",
    "memorization",
    "paper",
)

let_threads_yield()
