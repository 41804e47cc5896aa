"""`braing3n.from_pretrained`: its examples, the hub, and the light installation."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import braing3n
from braing3n.export import files
from braing3n.export.pretrained import Pretrained
from braing3n.preprocess.space.grid import Grid, encode_nifti

ROOT = Path(__file__).parents[2]
SHAPE = (16, 24, 16)


def write_brain(path, mask_path=None):
    """A brain of noise in SRI24's box at 8 mm, and its mask."""
    image = np.zeros((30, 30, 20), np.float32)
    image[8:22, 5:25, 3:17] = np.random.default_rng(0).gamma(5.0, 20.0, (14, 20, 14))
    grid = Grid(image.shape, 8.0, (3.5, -235.5, 1.0))
    path.write_bytes(encode_nifti(image, grid))
    if mask_path:
        mask_path.write_bytes(encode_nifti((image > 0).astype(np.uint8), grid))


def test_the_docstrings_example_holds(made, tmp_path, monkeypatch):
    shutil.copytree(made[0], tmp_path / "results/demo/export")
    monkeypatch.chdir(tmp_path)
    names = {"braing3n": braing3n, "volume": torch.zeros(1, 1, *SHAPE)}
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = [item for item in finder.find(braing3n.from_pretrained, globs=names) if item.examples]
    runner = doctest.DocTestRunner()
    runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0
    assert {row["task"] for row in example.globs["found"]} >= {"age", "sex"}


def test_the_documentations_examples_hold(made, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), flags=re.DOTALL)
    shutil.copytree(made[0], tmp_path / "model")
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    asked = []

    def answer(request):  # the work itself needs ANTs, and has tests of its own
        asked.append(request)
        request.out_dir.mkdir()
        (request.out_dir / "preprocess.tsv").write_text("status\tpath\nkept\ta\nexcluded\t\n")

    monkeypatch.setattr("braing3n.apply.preprocess.answer", answer)
    scan = tmp_path / "sub-01_space-SRI24_desc-preproc_T1w.nii.gz"
    write_brain(scan, tmp_path / "sub-01_space-SRI24_desc-brain_mask.nii.gz")
    names = {}
    for code in blocks:
        exec(code, names)
    assert names["spacing_mm"] == 4.0
    assert asked[0].facts.subject_id == "01"
    assert asked[0].changes == {"spacing_mm": 4.0, "brain_extraction": "deepbet"}
    assert len(names["kept"]) == 1
    braing3n.preprocess_scans("x.nii.gz", out="other", session="2", is_stripped=True)
    assert (asked[-1].facts.session_id, asked[-1].facts.is_stripped) == ("2", True)
    assert not asked[0].facts.is_stripped
    model = names["model"]
    n_tokens, width = names["tokens"].shape[1:]
    assert names["features"].shape == (1, width)
    assert names["latents"].shape == (1, n_tokens, model.tokenizer.n_channels)
    assert names["image"].shape == (1, 1, *model.volumes.shape)
    assert {row["task"] for row in names["rows"]} >= {"age", "sex"}
    assert names["percentiles"].shape == (1,)


def test_the_reference_lists_all_that_a_model_offers():
    text = (ROOT / "docs/api.md").read_text()
    offered = {name for name in vars(Pretrained) if not name.startswith("_")} | set(
        Pretrained.__annotations__
    )
    assert [name for name in offered - {"generators", "space"} if f"`{name}`" not in text] == []
    assert all(f"`{name}(" in text for name in braing3n.PUBLIC)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's own cache, elsewhere and empty."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_hub_model_on_this_disk_is_taken_without_asking_the_hub(made, cache, monkeypatch):
    model = cache / "models--lab--brains"
    shutil.copytree(made[0], model / "snapshots" / ("0" * 40))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the hub was asked"))
    assert braing3n.from_pretrained("lab/brains", "cpu").volumes.shape == SHAPE


def test_what_is_asked_of_the_hub_is_our_files_and_no_others(made, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(name, **options):
        asked.append((name, options.get("local_files_only", False), set(options["allow_patterns"])))
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("not here")
        return str(made[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    braing3n.from_pretrained("lab/brains", "cpu")
    assert asked == [("lab/brains", True, set(files.NAMES)), ("lab/brains", False, set(files.NAMES))]


LIGHT = """
import sys
for name in ("ants", "snakemake", "SimpleITK", "pydicom", "deepbet", "nnunetv2", "dcm2niix", "xlwt"):
    sys.modules[name] = None
import braing3n
from braing3n import cli
model, scan, out = sys.argv[1:]
commands = ["encode --tokens", "predict", "reconstruct", "forecast --disease AD --age 70 --years 1"]
commands.append("counterfactual --own-disease AD --disease HC")
for command in commands:
    name, *options = command.split()
    assert cli.main([name, scan, "--model", model, "-o", f"{out}/{name}", "--device", "cpu", *options]) == 0
sample = ["--modality", "T1", "--disease", "AD", "--n", "1", "--device", "cpu"]
assert cli.main(["generate", "--model", model, "-o", f"{out}/generate", *sample]) == 0
assert "torch._dynamo" not in sys.modules  # the compiler, which nothing here compiles with: two seconds
assert cli.main(["export", "--format", "monai", "--model", model, "-o", f"{out}/bundle"]) == 0
try:
    braing3n.preprocess_scans(scan, out=f"{out}/brains", is_stripped=True)
except braing3n.core.errors.MissingPackageError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_light_installation_runs_all_but_preprocessing(made, tmp_path):
    scan = tmp_path / "sub-01_space-SRI24_T1w.nii.gz"
    write_brain(scan)
    command = [sys.executable, "-c", LIGHT, str(made[0]), str(scan), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle/models/model.pt").exists()
    last = done.stdout.strip().splitlines()[-1]
    assert last == "'ants' is not installed; add it in the checkout: pip install '.[preprocess]'."
