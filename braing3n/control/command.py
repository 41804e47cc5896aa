"""The command line of `control`."""

from pathlib import Path

from cyclopts import App

from braing3n.core.options import Threads

app = App(
    name="braing3n control",
    help="Read samples with probes of real people, over guidance scales; change held-out people.",
)


@app.command
def sample(*, results: Path, threads: Threads = 1) -> None:
    """Draw MCI, PD, null sets and guidance scales; give held-out people other conditions.

    Parameters
    ----------
    results
        The run's results folder, such as results/demo.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.control.draw import draw_all, read_sections

    draw_all(results, *read_sections(results))


@app.command
def read(*, results: Path, threads: Threads = 1) -> None:
    """Fit probes on real training people, and read samples and counterfactuals with them.

    Parameters
    ----------
    results
        The run's results folder, such as results/demo.
    """
    from braing3n.core.runtime import set_threads

    set_threads(threads)
    from braing3n.control.draw import read_sections
    from braing3n.control.read import read_all

    read_all(results, *read_sections(results))
