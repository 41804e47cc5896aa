"""The command line of the paper: tables in four formats, the dataset card and one page."""

import sys
from pathlib import Path

from cyclopts import App

app = App(name="braing3n paper", help="The paper's tables and one page of a run.")


@app.command
def tables(*, results_dir: Path, out_dir: Path):
    """Write the tables of the paper, of the benchmark and of the audits, card.html and index.html from a run.

    Parameters
    ----------
    results_dir
        A run's results, such as results/demo.
    out_dir
        Folder to write.
    """
    from braing3n.paper.write import write_paper

    write_paper(results_dir, out_dir)


@app.command
def again(*, config: Path):
    """Write a run's tables and pages from the results that exist, train nothing, and say what is out of date.

    Parameters
    ----------
    config
        The run's configuration file.
    """
    from braing3n.paper.again import write_again

    for sentence in write_again(config):
        print(sentence, file=sys.stderr)
