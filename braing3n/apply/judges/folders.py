"""Folders of NIfTI on one grid: the volumes, the files left out with reasons, and one mask for all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from braing3n.cohort import Walk
from braing3n.core.errors import BrainG3nError, ScanError
from braing3n.core.runtime import track
from braing3n.fidelity.slices import BRAIN_SHARE
from braing3n.inventory.files import list_files, show_path, to_prefix

ENDS = (".nii", ".nii.gz")
NO_VOLUME = re.compile(r"_(mask|dseg|probseg|desc-brain)(?=[_.])|Difference_")  # beside the volumes, in BIDS
MIN_VOXELS = 8  # of the common box, along each axis
MIN_BACKGROUND = 0.05  # share of a volume's voxels that have its corners' value, where it has a background


@dataclass(frozen=True)
class Lattice:
    """Positions of a volume's voxels: axes L-P-S, step (3 x 3) in mm, and first voxel on that lattice.

    Attributes:
        start, shape: of the volume's box, in voxels of the lattice from RAS 0.
        part: offset of the first voxel from the lattice point `start`, in mm along each axis.
    """

    step: tuple[float, ...]
    part: tuple[float, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, affine: np.ndarray, shape: tuple[int, ...]) -> Lattice:
        """That of an affine (4 x 4), voxel to RAS mm, of axes in the order of the array."""
        place = np.linalg.solve(affine[:3, :3], affine[:3, 3])
        start = np.round(place)
        part = (place - start) * np.linalg.norm(affine[:3, :3], axis=0)
        step = tuple(float(v) + 0.0 for v in np.round(affine[:3, :3], 3).ravel())
        return cls(step, tuple(np.round(part, 2) + 0.0), tuple(start.astype(int)), tuple(map(int, shape)))

    @property
    def affine(self) -> np.ndarray:
        """Voxel of the box to RAS mm, 4 x 4."""
        step = np.reshape(self.step, (3, 3))
        affine = np.eye(4)
        affine[:3, :3] = step
        affine[:3, 3] = step @ (np.array(self.start) + np.array(self.part) / np.linalg.norm(step, axis=0))
        return affine

    def fits(self, other: Lattice) -> bool:
        """Whether the other's voxels lie on this lattice."""
        gaps = np.abs(np.array(self.part) - other.part)
        edge = np.linalg.norm(np.reshape(self.step, (3, 3)), axis=0)
        return np.allclose(self.step, other.step, atol=2e-3) and bool(
            (np.minimum(gaps, edge - gaps) < 0.05).all()
        )

    def place(self, array: np.ndarray, start: tuple[int, ...], fill: float) -> np.ndarray:
        """An array that begins at a voxel of the lattice, cut or filled to this box."""
        out = np.full(self.shape, fill, array.dtype)
        first = [max(a, b) for a, b in zip(self.start, start, strict=True)]
        ends = zip(self.start, self.shape, start, array.shape, strict=True)
        last = [min(a + n, b + m) for a, n, b, m in ends]
        if all(a < b for a, b in zip(first, last, strict=True)):
            target = tuple(slice(a - o, b - o) for a, b, o in zip(first, last, self.start, strict=True))
            source = tuple(slice(a - o, b - o) for a, b, o in zip(first, last, start, strict=True))
            out[target] = array[source]
        return out

    def describe(self) -> str:
        """The grid in words."""
        edges = np.linalg.norm(np.reshape(self.step, (3, 3)), axis=0)
        return f"{'x'.join(map(str, self.shape))} voxels of {'x'.join(f'{e:.3g}' for e in edges)} mm"


@dataclass
class VolumeFolder:
    """The volumes of one folder, read one at a time, on the common box.

    Attributes:
        role: generated, real or another word for messages.
        paths, people: each volume's file, and its person: the `sub-` of its path here, else that path.
        left_out: path and reason of every other file.
    """

    role: str
    folder: Path
    paths: list[Path]
    lattices: list[Lattice] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    box: Lattice | None = None
    mask: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def people(self) -> np.ndarray:
        """(N,) the person of each volume."""
        return np.array([parse_person(path.relative_to(self.folder)) for path in self.paths])

    @property
    def names(self) -> list[str]:
        """Each volume's path in the folder."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Volume i on the common box, and its brain: the voxels that differ from its corners' value."""
        assert self.box is not None
        array = read_lps(self.paths[i])[0]
        corners = array[np.ix_((0, -1), (0, -1), (0, -1))].ravel()
        background = Counter(corners.tolist()).most_common(1)[0][0]
        is_brain = array != background
        if 1 - is_brain.mean() < MIN_BACKGROUND:
            is_brain[:] = True
        start = self.lattices[i].start
        return self.box.place(array, start, background), self.box.place(is_brain, start, False)

    def load(self, i: int) -> np.ndarray:
        """Volume i in z units of the common mask, float32 (D, H, W), 0 outside it.

        Raises:
            ScanError: it is flat in the mask.
        """
        assert self.mask is not None
        array, _ = self.read(i)
        inside = array[self.mask].astype(np.float64)
        mean, deviation = inside.mean(), inside.std()
        if not deviation > 1e-6 * max(abs(mean), 1e-30):
            raise ScanError("it is flat where the brain lies")
        return np.where(self.mask, (array - mean) / deviation, 0).astype(np.float32)

    def keep(self, is_kept: list[bool]) -> None:
        """Drop volumes."""
        self.paths = [path for path, kept in zip(self.paths, is_kept, strict=True) if kept]
        self.lattices = [one for one, kept in zip(self.lattices, is_kept, strict=True) if kept]

    def drop_faulty(self, description: str) -> Iterator[np.ndarray]:
        """Load each volume in turn; one that cannot be used is left out with its reason."""
        is_kept = []
        for i in track(range(len(self)), description, len(self)):
            try:
                volume = self.load(i)
            except ScanError as error:
                self.left_out.append((self.names[i], str(error)))
                is_kept.append(False)
                continue
            is_kept.append(True)
            yield volume
        self.keep(is_kept)
        check_number(self)


def parse_person(path: Path) -> str:
    """The `sub-` of a file's name or of a folder above it, else the path; of a path within the folder."""
    for part in (path.name, *(parent.name for parent in path.parents)):
        if found := re.search(r"sub-([0-9A-Za-z]+)", part):
            return found[1]
    return re.sub(r"\.nii(\.gz)?$", "", path.as_posix())


def read_lps(path: Path, with_data: bool = True) -> tuple[np.ndarray, Lattice]:
    """A NIfTI's volume float32 with axes L-P-S, and its lattice; without data an empty array.

    Raises:
        ScanError: one reason, without the file's name.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would wait for its writer
            raise ScanError("it is no file")
        image = nib.load(path)
        if not isinstance(image, nib.spatialimages.SpatialImage):
            raise ScanError("it holds no volume")
        shape, affine = image.shape, image.affine
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3:
            raise ScanError(f"it has {len(shape)} dimensions ({'x'.join(map(str, shape))}), not 3")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
            raise ScanError("its affine is no map from voxels to millimetres")
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
        )
        turned = affine @ nib.orientations.inv_ornt_aff(turn, shape)
        sizes = tuple(shape[int(k)] for k in np.argsort(turn[:, 0]))
        array = np.zeros((0, 0, 0), np.float32)
        if with_data:
            array = np.asanyarray(image.dataobj)
            if array.dtype.fields or array.dtype.kind not in "biuf":
                raise ScanError(f"its voxels are no numbers ({array.dtype})")
            array = nib.orientations.apply_orientation(array.reshape(shape).astype(np.float32), turn)
    except ScanError:
        raise
    except Exception as error:  # of a damaged file the readers raise nearly everything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ScanError(f"it cannot be read as NIfTI ({show_path(reason[:160])})") from None
    return array, Lattice.of(turned, sizes)


def open_folders(folders: dict[str, Path], box: Lattice | None = None) -> dict[str, VolumeFolder]:
    """The volumes of folders on one box and with one mask, by role; the last role's make box and mask.

    Grids may differ in their extent and in the order of their axes, but not in the positions of voxels:
    nothing is interpolated. A file that cannot be used is left out with its reason.

    Args:
        box: the box of all volumes; default: what the folders have in common.

    Raises:
        BrainG3nError: a folder without volumes, or with fewer than two that can be used, or on another grid.
    """
    found = {role: list_volumes(role, folder) for role, folder in folders.items()}
    reference = list(found.values())[-1]
    lattice = box or Counter(reference.lattices).most_common(1)[0][0]
    for one in found.values():
        one.box = lattice
        _drop_other_grids(one, lattice, reference, box is not None)
    shared = box or _intersect([Counter(one.lattices).most_common(1)[0][0] for one in found.values()])
    for one in found.values():
        one.box = shared
        _check_voxels(one, is_whole=box is None)
    mask = _find_mask(reference)
    if box is None:
        shared, mask = _crop(shared, mask)
    for one in found.values():
        one.box, one.mask = shared, mask
    return found


def list_volumes(role: str, folder: Path) -> VolumeFolder:
    """Every NIfTI below a folder whose header can be read; masks and segmentations are left out.

    Hidden files and folders, as those of DataLad, are passed over; links to folders are followed.

    Raises:
        BrainG3nError: there is no folder, or no volume in it.
    """
    if not folder.is_dir():
        raise BrainG3nError(f"--{role} {folder}: there is no such folder.")
    walk = Walk()
    paths = sorted(Path(path) for path, _ in list_files(folder, {}, walk) if path.endswith(ENDS))
    one = VolumeFolder(role, folder, [])
    start = len(show_path(to_prefix(folder)))
    for path_text, why in walk.unused.items():
        if path_text.endswith(ENDS) or why.startswith("cannot be listed"):
            one.left_out.append((path_text[start:], why))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if NO_VOLUME.search(path.name):
            one.left_out.append((name, "its name says that it is no volume (a mask, labels or a difference)"))
            continue
        try:
            lattice = read_lps(path, with_data=False)[1]
        except ScanError as error:
            one.left_out.append((name, str(error)))
            continue
        one.paths.append(path)
        one.lattices.append(lattice)
    if not paths:
        raise BrainG3nError(f"--{role} {folder}: there is no NIfTI (.nii, .nii.gz) in it.")
    check_number(one)
    return one


def check_number(one: VolumeFolder) -> None:
    """Check that there are at least two volumes.

    Raises:
        BrainG3nError: there are fewer, with the first reason why.
    """
    if len(one) < 2:
        why = f"; {one.left_out[0][0]}: {one.left_out[0][1]}" if one.left_out else ""
        raise BrainG3nError(
            f"--{one.role} {one.folder}: {len(one)} volumes can be used, and two are the least{why}."
        )


def _drop_other_grids(one: VolumeFolder, lattice: Lattice, reference: VolumeFolder, is_given: bool) -> None:
    """Leave out volumes on another lattice.

    Raises:
        BrainG3nError: these are all volumes of the folder.
    """
    fits = [lattice.fits(own) for own in one.lattices]
    whose = "the model takes" if is_given else f"those of --{reference.role} have"
    if not any(fits):
        raise BrainG3nError(
            f"--{one.role} {one.folder}: its volumes have {one.lattices[0].describe()}, {whose} "
            f"{lattice.describe()}, or the voxels lie between each other; resample one onto the other's grid."
        )
    for name, own, is_fit in zip(one.names, one.lattices, fits, strict=True):
        if not is_fit:
            one.left_out.append(
                (name, f"its grid is another ({own.describe()}; {whose} {lattice.describe()})")
            )
    one.keep(fits)


def _intersect(boxes: list[Lattice]) -> Lattice:
    """The box that all volumes have in common."""
    first = np.max([box.start for box in boxes], axis=0)
    last = np.min([np.add(box.start, box.shape) for box in boxes], axis=0)
    if (last - first < MIN_VOXELS).any():
        words = " and ".join(box.describe() for box in boxes)
        raise BrainG3nError(f"The grids ({words}) have less than {MIN_VOXELS} voxels of an axis in common.")
    return Lattice(boxes[0].step, boxes[0].part, tuple(map(int, first)), tuple(map(int, last - first)))


def _crop(box: Lattice, mask: np.ndarray) -> tuple[Lattice, np.ndarray]:
    """The part of the box around the mask, with the mask; no axis below the least number of voxels."""
    parts = []
    for axis, n in enumerate(mask.shape):
        inside = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        first = max(0, min(int(inside[0]), n - MIN_VOXELS))
        parts.append(slice(first, max(int(inside[-1]) + 1, first + MIN_VOXELS)))
    start = tuple(a + part.start for a, part in zip(box.start, parts, strict=True))
    cut = mask[tuple(parts)]
    return Lattice(box.step, box.part, start, cut.shape), cut


def _check_voxels(one: VolumeFolder, is_whole: bool) -> None:
    """Leave out volumes that hold no finite numbers, or miss a part of the box."""
    box, is_kept = one.box, []
    assert box is not None
    for i in track(range(len(one)), f"{one.role}: reading", len(one)):
        reason, own = "", one.lattices[i]
        ends = np.add(own.start, own.shape) >= np.add(box.start, box.shape)
        if is_whole and not (ends.all() and (np.array(own.start) <= box.start).all()):
            reason = f"it does not cover the box that the others have in common ({box.describe()})"
        else:
            try:
                if not np.isfinite(array := read_lps(one.paths[i])[0]).all():
                    reason = (
                        f"{int((~np.isfinite(array)).sum())} of its voxels are not finite (NaN or infinite)"
                    )
                elif array.min() == array.max():
                    reason = "all its voxels are equal"
            except ScanError as error:
                reason = str(error)
        is_kept.append(not reason)
        if reason:
            one.left_out.append((one.names[i], reason))
    one.keep(is_kept)
    check_number(one)


def _find_mask(one: VolumeFolder) -> np.ndarray:
    """The one mask: where the brain lies in half of these volumes or more."""
    assert one.box is not None
    total = np.zeros(one.box.shape, np.int32)
    for i in range(len(one)):
        total += one.read(i)[1]
    mask = total >= BRAIN_SHARE * len(one)
    if not mask.any():
        raise BrainG3nError(f"--{one.role} {one.folder}: no voxel lies in the brain of half of its volumes.")
    return mask


def tabulate_left_out(found: dict[str, VolumeFolder]) -> pd.DataFrame:
    """One row for each file that was left out."""
    rows = [(role, name, reason) for role, one in found.items() for name, reason in one.left_out]
    return pd.DataFrame(rows, columns=["set", "file", "reason"])
