"""The bench of `encode` writes a model folder that can be loaded, of tiny models as of the paper's."""

import subprocess
import sys
from pathlib import Path

import braing3n

ROOT = Path(__file__).parents[2]
TINY = """
import sys
from pathlib import Path
import encode
from invented_run import ENCODER, PROBE, SHAPE, write_models
folder = Path(sys.argv[1])
volumes = encode.CONFIG.volumes.model_copy(update={"shape": SHAPE, "spacing_mm": 8.0})
changes = {"pretrain": ENCODER, "probe": PROBE, "volumes": volumes}
encode.CONFIG = encode.CONFIG.model_copy(update=changes)
encode.build_models = lambda: write_models(folder)
encode.write_model_folder(folder)
"""


def test_the_folder_that_is_encoded_with_can_be_loaded(tmp_path):
    code = f"import sys; sys.path[:0] = [{str(ROOT / 'bench')!r}, {str(ROOT / 'tests/export')!r}]\n{TINY}"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    model = braing3n.from_pretrained(tmp_path / "export", "cpu")
    assert {"age", "sex"} <= {probe.task for probe in model.probes}
