"""The command line of `volumes`."""

from pathlib import Path

from cyclopts import App

app = App(name="braing3n volumes", help="Pack preprocessed volumes for the models.")


@app.command
def pack(*, table: Path, array: Path, index: Path, settings: str) -> None:
    """Pack one shard's kept volumes.

    Parameters
    ----------
    table
        The shard's preprocess table.
    array
        Packed levels to write (.b2nd).
    index
        The index table to write (.parquet).
    settings
        The section `volumes`: its settings file, or a configuration file.
    """
    from braing3n.core.settings import parse_section
    from braing3n.volumes.pack import pack_shard
    from braing3n.volumes.settings import VolumesSettings

    pack_shard(table, array, index, parse_section(VolumesSettings, settings))
