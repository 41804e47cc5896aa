"""Tables from existing results: a workflow that cannot be planned is one sentence."""

from types import SimpleNamespace

import pytest

from braing3n.core.errors import ConfigurationError
from braing3n.paper import again


def test_why_the_workflow_cannot_be_planned_is_said_once(monkeypatch, tmp_path):
    answer = SimpleNamespace(returncode=2, stdout="", stderr="a log line\nbraing3n: the split has nobody.\n")
    monkeypatch.setattr(again.subprocess, "run", lambda *words, **options: answer)
    with pytest.raises(ConfigurationError) as caught:
        again.find_stale(tmp_path / "my.yaml")
    assert str(caught.value).endswith("my.yaml: the workflow cannot be planned: the split has nobody.")
