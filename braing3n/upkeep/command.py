"""The command line of resources, stage versions, generated files and withdrawn people."""

from pathlib import Path

from cyclopts import App

resources_app = App(name="braing3n resources", help="What a run fetches, with digests and licences.")
stages_app = App(name="braing3n stages", help="Stage versions and their lock.")
config_app = App(name="braing3n config", help="The generated configuration file and schema.")
strays_app = App(
    name="braing3n strays", help="Files of a run that show people whom no inventory names any more."
)


@resources_app.command(name="list")
def list_resources() -> None:
    """Print every resource: name, package or download, size, licence and source."""
    from braing3n.core.resources import DOWNLOADS, REGISTRY

    for item in REGISTRY.values():
        print(
            f"{item.name}\t{item.package}=={item.version}\t{item.size_mb} MB\t{item.licence}\t{item.source}"
        )
    for own in DOWNLOADS.values():
        where = f"you provide {own.file_name} from {own.address}"
        print(f"{own.name}\t{where}\t{own.size_mb} MB\t{own.licence}\t{own.source}")


@resources_app.command
def fetch(*names: str, model: Path | None = None) -> None:
    """Fetch resources by name into ./resources and verify them; without a name, all of them.

    Parameters
    ----------
    names
        Names as `braing3n resources list` prints them.
    model
        A model folder: fetch and unpack the resources that its preprocessing needs, so that they can be used
        without a network and from a read-only disk.
    """
    from braing3n.core.resources import REGISTRY
    from braing3n.core.resources import fetch as fetch_one
    from braing3n.core.settings import ResourceSettings

    if model is not None:
        _fetch_for(model)
    for name in names or (REGISTRY if model is None else ()):
        print(fetch_one(name, ResourceSettings()))


def _fetch_for(model: Path) -> None:
    """Fetch and unpack what a model folder's preprocessing needs, as preprocessing itself does."""
    from braing3n.core.settings import ResourceSettings, validate
    from braing3n.export.files import read_config
    from braing3n.preprocess.settings import PreprocessSettings
    from braing3n.preprocess.shard import prepare_job

    settings = validate(PreprocessSettings, read_config(model).get("preprocess"), "preprocess")
    job = prepare_job(Path(), settings, ResourceSettings())
    for path in (job.atlas_path, job.hd_bet_wheel, job.hd_bet_model and job.hd_bet_model.folder):
        if path is not None:
            print(path)


@stages_app.command
def check() -> None:
    """Report the stages whose code changed without a new version or lock."""
    from braing3n.core.errors import BrainG3nError
    from braing3n.core.stages import find_unlocked

    faults = find_unlocked()
    if faults:
        raise BrainG3nError("\n".join(faults))


@stages_app.command
def relock(*, stage: str = "all") -> None:
    """Record that the present code of a stage, or of all, gives the same results as before.

    Parameters
    ----------
    stage
        A word, or `all`.
    """
    from braing3n.core.stages import relock as relock_one

    relock_one(stage)


@config_app.command(name="write")
def write_config() -> None:
    """Generate config/config.yaml and the JSON schema from the typed models."""
    from braing3n.upkeep.config_files import write_files

    for path in write_files():
        print(path)


@strays_app.command(name="list")
def list_strays(*, config: Path) -> None:
    """Print every file of a run that shows withdrawn people, and the weights that were trained on them.

    The raw folders are walked first, so that the inventories are current.

    Parameters
    ----------
    config
        The run's configuration file.
    """
    from braing3n.upkeep.strays import describe_strays

    strays, results_dir = _find_strays(config)
    for line in describe_strays(strays) or [f"{results_dir}: no file shows people whom no inventory names."]:
        print(line)


@strays_app.command(name="remove")
def remove_strays(*, config: Path, dry_run: bool = False, yes: bool = False) -> None:
    """Remove the files that `list` prints as stray, after a question; weights, tables and foreign files stay.

    Parameters
    ----------
    config
        The run's configuration file.
    dry_run
        Print the files that would be removed, and remove nothing.
    yes
        Do not ask before removing.
    """
    import sys

    from braing3n.core.errors import BrainG3nError
    from braing3n.upkeep.strays import describe_strays
    from braing3n.upkeep.strays import remove_strays as remove_all

    strays, results_dir = _find_strays(config)
    for line in describe_strays(strays):
        print(line)
    n_files = len(strays.files)
    if dry_run or not n_files:
        print(f"{n_files} files would be removed." if n_files else f"{results_dir}: nothing to remove.")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise BrainG3nError("strays remove: no terminal to ask in; nothing is removed without --yes.")
        if input(f"Remove these {n_files} files for good? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was removed.")
            return
    remove_all(strays, results_dir)
    print(f"{n_files} files were removed; run the workflow again to rebuild the rest without these people.")


def _find_strays(config: Path):
    """The strays of a run and its results folder; the inventories are built anew and stay locked."""
    from braing3n.config import load_config
    from braing3n.inventory.build import build_inventories
    from braing3n.launch import lock_run
    from braing3n.upkeep.strays import find_strays

    settings = load_config(config)
    results_dir = Path("results") / settings.run
    lock_run(settings.run, is_looking=False)
    build_inventories(settings)
    return find_strays(results_dir, list(settings.cohorts)), results_dir
