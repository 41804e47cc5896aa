"""The bars of Appendix F end at the scores that they are drawn from."""

import pytest

from braing3n.paper.bars import draw_bars
from braing3n.paper.results import Results
from braing3n.probe.contracts import SCORES
from braing3n.probe.tasks import PAPER_TASKS

from .test_head_to_head import fill, score


def test_a_bar_ends_at_the_best_slice_and_the_dot_is_at_all_volumes(tmp_path):
    rows = [score(name, mean=mean) for name, mean in (("mae", 0.7), ("untrained", 0.45))]
    rows += [score("mae", name="T1", mean=0.9), score("mae", "age", "all", 0.3, "r2")]
    path = tmp_path / "run" / "probe" / "scores.parquet"
    path.parent.mkdir(parents=True)
    fill(rows, SCORES).to_parquet(path)
    classes, numbers = draw_bars(Results(tmp_path / "run")).axes
    tasks = [task.key for task in PAPER_TASKS if task.kind == "classification"]
    ours, theirs = classes.containers
    ends = [bar.get_x() + bar.get_width() for bar in (ours[tasks.index("sex")], theirs[tasks.index("sex")])]
    assert ends == pytest.approx([0.9, 0.5]), "below chance a bar has no length"
    assert [list(line.get_xdata()) for line in classes.lines] == [[0.7], [0.45]]
    (bar,) = [bar for bar in numbers.containers[0] if bar.get_width() > 0]
    assert (bar.get_x(), bar.get_width()) == pytest.approx((0, 0.3))
