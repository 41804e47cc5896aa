"""The command line of `inventory`."""

from pathlib import Path

from cyclopts import App

app = App(name="braing3n inventory", help="Walk the raw folders and write the inventories.")


@app.command
def build(*, config: Path) -> None:
    """Write every cohort's inventory, as the Snakefile does before the DAG.

    Parameters
    ----------
    config
        A configuration file.
    """
    from braing3n.core.settings import read_config
    from braing3n.inventory.build import build_inventories

    build_inventories(read_config(config))
