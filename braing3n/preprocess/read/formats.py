"""Opening a raw image of any format: voxels, and where they lie in the head."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

from braing3n.core.errors import ResourceError, ScanError
from braing3n.core.runtime import check_free_space, digest_file
from braing3n.core.scratch import open_scratch
from braing3n.preprocess.read.claims import MAX_VOXELS, check_claims, check_surplus
from braing3n.preprocess.read.slices import check_slices

MAX_SIZE_DIFFERENCE = 0.01  # of a voxel's edge, between sform and qform: headers round
# What a checkout holds in place of a file whose content was not fetched, in at most so many bytes.
POINTERS, MAX_POINTER_BYTES = (b"annex/objects/", b"https://git-lfs.github.com/spec"), 256
DCM2NIIX_LIMIT_S = 900
MAX_RAW_BYTES = 8 * MAX_VOXELS
MAX_TURN_DEGREES = 45.0  # between sform and qform: no head is tilted that far


def load_image(path: str | Path, source_format: str = "NIfTI", axes: str = "", modality: str = "T1"):
    """Open a raw image.

    Args:
        path: the file; of a pair or Analyze either half; of DICOM the folder of one series, or one file.
        source_format: `NIfTI`, `NIfTI pair`, `Analyze` or `DICOM`.
        axes: where the header gives no orientation, the directions in which the array's axes grow, such as
            `LAS`; the origin is then the volume's centre. Empty: the header is believed.
        modality: of a series with several echoes, T2 is the one with the longest echo time, all else the
            one with the shortest.

    Returns:
        A nibabel image: `dataobj`, and `affine` voxel -> RAS mm.

    Raises:
        ScanError: there is no image, or its left and right cannot be known. Names only the file or folder;
            nothing that a DICOM header says is repeated.
        ResourceError: dcm2niix is not installed.
        StorageError: dcm2niix has no space to write to.
        OSError: the disk failed; the file itself may be sound.
    """
    path = Path(path)
    try:
        _check_exists(path, source_format)
        if source_format == "DICOM":
            return _load_dicom(path, modality)
        _check_names(path)
        image, voxels = _read(path, source_format)
        return _place(path.name, image, voxels, axes)
    except PermissionError:
        raise ScanError(f"{path.name}: may not be read; ask for permission to it (chmod).") from None


def _read(path: Path, source_format: str):
    """What nibabel makes of the file, and its voxels in memory."""
    try:
        image = _open(path, source_format)
        _check_gzip(path, check_claims(path, image))
        return image, np.asanyarray(image.dataobj)
    except ScanError:
        raise
    except EOFError:
        raise ScanError(f"{path.name}: the compressed data end too early; the file is truncated.") from None
    except MemoryError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is not None:  # of the system, where nibabel's own have no number
            raise
        why = (str(error).splitlines() or [""])[0].replace(str(path.parent) + "/", "")[:120]
        raise ScanError(f"{path.name}: cannot be read as an image ({type(error).__name__}: {why}).") from None


def _check_names(path: Path) -> None:
    """What is called compressed is compressed, and nothing else is; a pointer is no image."""
    for file in list_raw_files(path):
        with file.open("rb") as stream:
            head = stream.read(MAX_POINTER_BYTES)
        is_gz, is_compressed = file.suffix.lower() == ".gz", head.startswith(b"\x1f\x8b")
        if any(mark in head for mark in POINTERS):
            raise ScanError(f"{file.name}: is a pointer of git-annex or Git LFS; fetch the image itself.")
        if is_gz and not is_compressed:
            raise ScanError(f"{file.name}: its name ends in .gz, but it is not compressed; copy it again.")
        if file.suffix.lower() == ".nii" and is_compressed:
            raise ScanError(f"{file.name}: is compressed, but its name does not end in .gz; rename it.")


def _check_gzip(path: Path, n_claimed: int) -> None:
    """Compressed files are whole up to their checksum, which nibabel does not look at, and no bombs."""
    for file in list_raw_files(path):
        if file.suffix.lower() != ".gz":
            continue
        n_bytes = 0
        try:
            with gzip.open(file) as stream:
                while block := stream.read(2**20):
                    n_bytes += len(block)
                    if n_bytes > MAX_RAW_BYTES:
                        raise ScanError(f"{file.name}: unpacks to more than any head; get the file again.")
        except EOFError:
            raise ScanError(
                f"{file.name}: the compressed data end too early; the file is truncated."
            ) from None
        except (gzip.BadGzipFile, zlib.error):
            raise ScanError(f"{file.name}: the compressed data are damaged; get the file again.") from None
        check_surplus(file.name, n_bytes - n_claimed)


def list_raw_files(path: str | Path) -> list[Path]:
    """The files that make a scan, by name: of a DICOM folder its visible files, of a pair both halves."""
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    halves = _list_halves(path)
    return [half for half in halves if half.exists()] if len(halves) > 1 and path.exists() else [path]


def digest_scan(path: str | Path) -> str:
    """The sha256 of a scan's content, whatever its files are called: equal scans of two people are found.

    One file's is its own; several files' is that of their digests in order, so that of a series is the same
    in whichever order its slices are numbered.

    Raises:
        OSError: there is nothing to read.
    """
    files = list_raw_files(path)
    if not files:
        raise FileNotFoundError(path)
    if not all(file.is_file() for file in files):  # a pipe or a device is never opened
        raise FileNotFoundError(path)
    digests = sorted(digest_file(file) for file in files)
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _list_halves(path: Path) -> list[Path]:
    """Header and voxels where the name is that of a half, else the file alone."""
    found = re.fullmatch(r"(.*)\.(hdr|img)(\.gz)?", path.name, re.IGNORECASE)
    if not found:
        return [path]
    stem, half, gz = found[1], found[2], found[3] or ""
    names = ("HDR", "IMG") if half.isupper() else ("hdr", "img")
    return [path.with_name(f"{stem}.{name}{gz}") for name in names]


def _check_exists(path: Path, source_format: str) -> None:
    """All parts of the scan are there and hold something."""
    if source_format == "DICOM" and path.is_dir():
        return
    for file in [path] if source_format == "DICOM" else _list_halves(path):
        if source_format != "DICOM" and file.is_dir():
            raise ScanError(f"{file.name}: is a folder, where a file is expected.")
        if file.is_symlink() and not file.exists():
            raise ScanError(f"{file.name}: is a link that leads to no file.")
        if file.exists() and not file.is_file():
            raise ScanError(f"{file.name}: is a pipe or a device, where a file is expected.")
        if not file.is_file():
            raise ScanError(
                f"{file.name}: the {'folder' if source_format == 'DICOM' else 'file'} is missing."
            )
        if file.stat().st_size == 0:
            raise ScanError(f"{file.name}: the file is empty (0 bytes).")


def _open(path: Path, source_format: str):
    """What nibabel makes of the file; of Analyze only voxels and their size, since it holds no more."""
    import nibabel as nib

    # nibabel would take the scale and the origin that SPM kept in unused bytes of such headers. Without a
    # memory map, a file that shrinks while it is read is an error and not the death of the process.
    if source_format == "Analyze":
        return nib.AnalyzeImage.from_filename(path, mmap=False)
    return nib.load(path, mmap=False)


def _place(name: str, image, voxels: np.ndarray, axes: str):
    """The voxels with an affine: that of `axes` where given, else that of a header that gives one."""
    import nibabel as nib

    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    affine = image.affine
    if axes and voxels.ndim == 3:
        affine = centre_affine(voxels.shape, image.header.get_zooms(), axes)
    elif _has_no_orientation(image):
        raise ScanError(
            f"{name}: its header does not give the orientation (no sform, no qform); "
            "name the axes (`braing3n preprocess --axes LAS`, or `axes` in its cohort's file)."
        )
    elif isinstance(image, nib.AnalyzeImage) and not isinstance(image, nib.Nifti1Pair) and not axes:
        raise ScanError(
            f"{name}: is Analyze, which does not store left and right; name `axes` in its cohort's file."
        )
    elif isinstance(image, nib.Nifti1Pair):
        _check_forms(name, image)
    return nib.spatialimages.SpatialImage(voxels, affine)


def _has_no_orientation(image) -> bool:
    """Whether a header leaves the axes to be guessed: NIfTI with both codes 0, MGH without its RAS flag."""
    import nibabel as nib

    if isinstance(image, nib.MGHImage):
        holder = image.file_map["image"]
        with holder.get_prepare_fileobj("rb") as stream:  # nibabel puts a guess where the flag is off
            return int(np.frombuffer(stream.read(30)[28:], ">i2")[0]) < 1
    if isinstance(image, nib.Nifti1Pair):
        return int(image.header["sform_code"]) <= 0 and int(image.header["qform_code"]) <= 0
    return False


def _check_forms(name: str, image) -> None:
    """A header may place an image twice, and nobody knows which is right.

    Other places, and turns up to 45 degrees, are let pass as nibabel reads them (the sform): registration
    finds them. It never finds the side, may end upside down, and takes a wrong voxel size for the head's.
    """
    sform, qform = image.header.get_sform(coded=True)[0], _read_qform(image.header)
    if sform is None:
        return
    edges_mm, zooms_mm = np.linalg.norm(sform[:3, :3], axis=0), _read_zooms(image)
    if not (np.isfinite(sform).all() and edges_mm.all() and zooms_mm.all()):
        return  # nothing to compare: whoever needs the affine refuses a bad one, and 0 mm is no claim
    if qform is not None and np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        what = "left and right"
    elif not np.allclose(edges_mm, zooms_mm, rtol=MAX_SIZE_DIFFERENCE):
        described = [" x ".join(f"{edge:.4g}" for edge in edges) for edges in (edges_mm, zooms_mm)]
        what = f"the voxel size ({described[0]} and {described[1]} mm)"
    elif qform is not None and _measure_turn(sform, qform) > MAX_TURN_DEGREES:
        what = f"the head's position by {_measure_turn(sform, qform):.0f} degrees"
    else:
        return
    raise ScanError(f"{name}: its header's sform and qform disagree about {what}; remove the wrong one.")


def _read_zooms(image) -> np.ndarray:
    """The voxel size that the file gives beside its matrices; nibabel reads a size of 0 as 1."""
    holder = image.file_map.get("header") or image.file_map["image"]
    with holder.get_prepare_fileobj("rb") as stream:
        header = type(image.header).from_fileobj(stream, check=False)
    return np.abs(header["pixdim"][1:4])


def _read_qform(header) -> np.ndarray | None:
    """The qform; None where there is none, or its numbers are no rotation."""
    try:
        qform = header.get_qform(coded=True)[0]
    except ValueError:
        return None
    return qform if qform is None or np.isfinite(qform).all() else None


def _measure_turn(one: np.ndarray, other: np.ndarray) -> float:
    """The angle, in degrees, of the rotation between two affines of one handedness."""
    rotations = []
    for affine in (one, other):
        left, _, right = np.linalg.svd(affine[:3, :3])
        rotations.append(left @ right)
    cosine = (np.trace(rotations[0].T @ rotations[1]) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def centre_affine(shape, zooms_mm, axes: str) -> np.ndarray:
    """Voxel -> RAS mm of axes that grow as a code such as `LAS` says, the volume's centre being 0."""
    import nibabel as nib

    turn = nib.orientations.axcodes2ornt(tuple(axes))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (direction, sign) in enumerate(turn):
        affine[int(direction), axis] = sign * abs(float(zooms_mm[axis]))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[:3]) - 1) / 2)
    return affine


def _load_dicom(path: Path, modality: str):
    """One volume of a series through dcm2niix; what that prints is dropped, since it can hold names."""
    import nibabel as nib

    with open_scratch() as folder:
        outputs = _convert(path, folder)
        if len(outputs) > 1:  # echoes, perhaps: their times stand in sidecars, which hold more than that
            outputs = _convert(path, folder, has_sidecars=True)
        try:
            image = _open(_choose_volume(path.name, outputs, modality), "NIfTI")
            image = nib.spatialimages.SpatialImage(np.array(image.dataobj), image.affine)
        except (nib.filebasedimages.ImageFileError, OSError, ValueError, EOFError):  # they quote a UID
            raise ScanError(
                f"{path.name}: what dcm2niix makes of it is no image; download it again."
            ) from None
    _check_frames(path, image.shape)
    check_slices(path.name, list_raw_files(path))
    return image


def _convert(path: Path, folder: Path, has_sidecars: bool = False) -> list[Path]:
    """The NIfTI files that dcm2niix makes of a series in a folder, which is emptied before."""
    for old in folder.iterdir():
        old.unlink()
    command = [_find_dcm2niix(), "-g", "i", "-z", "n", "-f", "%j"]
    command += ["-b", "y", "-ba", "y"] if has_sidecars else ["-b", "n"]
    command += ["-d", "0"] if path.is_dir() else ["-s", "y"]
    try:
        subprocess.run(
            [*command, "-o", str(folder), str(path.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=DCM2NIIX_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise ScanError(
            f"{path.name}: dcm2niix did not finish in {DCM2NIIX_LIMIT_S // 60} minutes; download it again."
        ) from None
    check_free_space(folder)
    return sorted(folder.glob("*.nii"))


def _find_dcm2niix() -> str:
    """The program beside this Python, or else on the PATH."""
    program = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or shutil.which("dcm2niix")
    if program is None:
        raise ResourceError("dcm2niix: is not installed and DICOM needs it; run `make setup`.")
    return program


def _choose_volume(name: str, outputs: list[Path], modality: str) -> Path:
    """Of dcm2niix's outputs the one volume, or of several echoes the one that the modality asks for."""
    # Names are the series' UID and what dcm2niix adds; _Eq marks a copy resampled to equal slice distances.
    # _ROI is an overlay, such as a drawn outline, as an image of its own.
    outputs = [output for output in outputs if not re.search(r"_Eq|_ROI\d", output.name)]
    if not outputs:
        raise ScanError(f"{name}: dcm2niix finds no image in it, or a damaged one; download it again.")
    if len(outputs) == 1:
        return outputs[0]
    shapes = [_open(output, "NIfTI").shape for output in outputs]
    series = {match[0] for output in outputs if (match := re.match(r"[0-9.]*", output.stem))}
    echo_times = [time for output in outputs if (time := _read_echo_time(output)) is not None]
    has_echoes = len(set(echo_times)) == len(outputs)
    if len(series) > 1 or len(set(shapes)) > 1 or not has_echoes:
        sizes = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
        raise ScanError(f"{name}: holds {len(outputs)} series (sizes {sizes}); keep one a folder.")
    wanted = max if modality == "T2" else min
    return outputs[echo_times.index(wanted(echo_times))]


def _read_echo_time(output: Path) -> float | None:
    """In s, from the sidecar; the only line of it that is looked at."""
    try:
        return json.loads(output.with_suffix(".json").read_text()).get("EchoTime")
    except (OSError, ValueError):
        return None


def _check_frames(path: Path, shape: tuple[int, ...]) -> None:
    """A volume has one slice for each place that a multi-frame file shows, not one for each frame."""
    from pydicom import dcmread

    files = list_raw_files(path)
    if len(files) != 1 or len(shape) != 3:
        return
    tags = ["Rows", "Columns", "PerFrameFunctionalGroupsSequence"]
    try:
        header = dcmread(files[0], stop_before_pixels=True, specific_tags=tags)
        groups = header.PerFrameFunctionalGroupsSequence
        places = {tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in groups}
    except Exception:  # a classic image, or one whose places stand elsewhere: nothing can be compared
        return
    if np.prod(shape) != header.Rows * header.Columns * len(places):
        raise ScanError(
            f"{path.name}: dcm2niix makes one stack of {len(groups)} frames at {len(places)} places; "
            "export the series as one file a slice."
        )
