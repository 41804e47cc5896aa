"""The command line of `volumes`."""

from pathlib import Path

from cyclopts import App

app = App(name="volumes", help="Pack preprocessed volumes for the models.")


@app.command
def pack(*, table: Path, array: Path, index: Path, picture: Path, settings: str) -> None:
    """Pack one shard's kept volumes and draw its quality mosaic.

    Parameters
    ----------
    table
        The shard's preprocess table.
    array
        Packed levels to write (.b2nd).
    index
        The index table to write (.parquet).
    picture
        The mosaic to write (.png): three planes a volume with the mask's outline.
    settings
        The section `volumes` as JSON, or a configuration file.
    """
    from braing3n.config import VolumesSettings, parse_section
    from braing3n.contracts import read_table
    from braing3n.preprocess.mosaic import draw_mosaic
    from braing3n.volumes.pack import pack_shard

    pack_shard(table, array, index, parse_section(VolumesSettings, settings))
    draw_mosaic(read_table(table, "preprocess"), picture)
