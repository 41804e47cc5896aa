"""The commands that are no stage: resources, stage versions and generated configuration files."""

from cyclopts import App

resources_app = App(name="resources", help="What a run fetches, with digests and licences.")
stages_app = App(name="stages", help="Stage versions and their lock.")
config_app = App(name="config", help="The generated configuration file and schema.")


@resources_app.command(name="list")
def list_resources() -> None:
    """Print every resource: name, package or download, size, licence and source."""
    from braing3n.resources import DOWNLOADS, REGISTRY

    for item in REGISTRY.values():
        print(
            f"{item.name}\t{item.package}=={item.version}\t{item.size_mb} MB\t{item.licence}\t{item.source}"
        )
    for item in DOWNLOADS.values():
        where = f"yours to bring: {item.file_name} of {item.address}"
        print(f"{item.name}\t{where}\t{item.size_mb} MB\t{item.licence}\t{item.source}")


@resources_app.command
def fetch(*names: str) -> None:
    """Fetch resources by name into ./resources and verify them; all of them where none is named.

    Parameters
    ----------
    names
        Names as `braing3n resources list` prints them.
    """
    from braing3n.config import ResourceSettings
    from braing3n.resources import REGISTRY
    from braing3n.resources import fetch as fetch_one

    for name in names or REGISTRY:
        print(fetch_one(name, ResourceSettings()))


@stages_app.command
def check() -> None:
    """Say which stage's code changed without a new version or lock."""
    from braing3n.errors import BrainG3nError
    from braing3n.stages import find_unlocked

    faults = find_unlocked()
    if faults:
        raise BrainG3nError("\n".join(faults))


@stages_app.command
def relock(*, stage: str = "all") -> None:
    """Declare the present code of a stage (or all) harmless: same results as before.

    Parameters
    ----------
    stage
        A word, or `all`.
    """
    from braing3n.stages import relock as relock_one

    relock_one(stage)


@config_app.command(name="write")
def write_config() -> None:
    """Write config/config.yaml and the JSON schema again from the typed models."""
    from braing3n.config_files import write_files

    for path in write_files():
        print(path)
