"""The folder of encoders is the registry: what each file says is what probing and the DAG do."""

import numpy as np
import pytest

from braing3n import encoders
from braing3n.core.errors import ConfigurationError
from braing3n.probe import compare
from braing3n.probe.settings import ProbeSettings

HAS_PCA = {"mae": False, "untrained": False, "untrained_flattened": True, "patches": False}
HAS_PCA |= {"voxels": True, "histogram": False, "tissue": False}
FOREIGN = ["braindino", "brainiac", "brainiac_v1", "brainsegfounder", "medicalnet", "openmind"]
HAS_PCA |= dict.fromkeys(FOREIGN, False)


def test_the_encoders_are_the_files_of_the_folder():
    assert encoders.list_encoders() == sorted(HAS_PCA)
    assert encoders.list_encoders("foreign") == FOREIGN
    for name in HAS_PCA:
        assert encoders.load(name).__name__.endswith(f".foreign.{name}") == (name in FOREIGN)
    with pytest.raises(ConfigurationError, match="'pca' is no file of braing3n/encoders"):
        encoders.load("pca")
    with pytest.raises(ConfigurationError, match="'mae' are cached with its tokens"):
        encoders.compute_features("mae", None, None, None, None, None)


@pytest.mark.parametrize(("name", "has_pca"), HAS_PCA.items())
def test_large_features_are_probed_by_their_components(name, has_pca, monkeypatch):
    asked = []
    monkeypatch.setattr(compare, "plan_probes", lambda *given: [None])
    monkeypatch.setattr(compare, "span_features", lambda features, seed: features)

    def read_probe(features, probe, settings, has_pca):
        asked.append(has_pca)
        raise RuntimeError("asked")

    monkeypatch.setattr(compare, "read_probe", read_probe)
    with pytest.raises(RuntimeError, match="asked"):
        compare.probe_encoder(name, np.zeros((4, 3)), None, ProbeSettings())
    assert asked == [has_pca]
