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
        The section `volumes` as JSON, or a configuration file.
    """
    from braing3n.config import VolumesSettings, parse_section
    from braing3n.volumes.pack import pack_shard

    pack_shard(table, array, index, parse_section(VolumesSettings, settings))
