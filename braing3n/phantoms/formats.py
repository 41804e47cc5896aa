"""One image as the raw files of every format that a download can hold."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import nibabel as nib
import numpy as np

if TYPE_CHECKING:
    from pydicom.uid import UID

GREY_LEVELS = 600  # of T1 white matter, where an image comes in its units
# How scanners lay out a slice: directions in which columns, rows and slices grow.
PLANES = {"axial": "LPS", "coronal": "LIA", "sagittal": "PIL"}
ECHO_TIMES_MS = {1: (3.0,), 2: (12.0, 96.0)}
MR_IMAGE, ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
FIXED = {
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyTime": "101112",
    "SeriesTime": "101112",
    "AcquisitionTime": "101112",
    "ContentTime": "101112",
    "Modality": "MR",
    "BodyPartExamined": "HEAD",
    "PatientPosition": "HFS",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "MRAcquisitionType": "3D",
    "RepetitionTime": 2300.0,
    "FlipAngle": 9.0,
    "AcquisitionNumber": 1,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
}
# What orders the frames of a multi-frame image: stack, position in it, echo time.
DIMENSIONS = ((0x00209056, 0x00209111), (0x00209057, 0x00209111), (0x00189082, 0x00189114))
# What identifies a person. Each written series carries it all, so that a search finds what leaks.
IDENTITY = {
    "PatientName": "PLANTED^NAME",
    "PatientID": "PLANTED-ID",
    "OtherPatientIDs": "PLANTED-OTHER-ID",
    "OtherPatientNames": "PLANTED^OTHER",
    "PatientBirthName": "PLANTED^BIRTHNAME",
    "PatientMotherBirthName": "PLANTED^MOTHER",
    "PatientBirthDate": "19030917",
    "PatientAddress": "PLANTED STREET 7",
    "PatientTelephoneNumbers": "PLANTED-555-0199",
    "PatientComments": "PLANTED COMMENT",
    "ReferringPhysicianName": "PLANTED^REFERRER",
    "PerformingPhysicianName": "PLANTED^PERFORMER",
    "OperatorsName": "PLANTED^OPERATOR",
    "InstitutionName": "PLANTED HOSPITAL",
    "InstitutionAddress": "PLANTED ROAD 9",
    "AccessionNumber": "PLANTED-ACCESS",
    "StudyID": "PLANTED-STUDY",
    "StationName": "PLANTED-STATION",
    "DeviceSerialNumber": "PLANTED-SERIAL",
    "ImageComments": "PLANTED REMARK",
}
PLANTED = sorted(IDENTITY.values())


def write_nifti(path: Path, image: np.ndarray, affine: np.ndarray, axes: str = "RAS") -> None:
    """Write `.nii` or `.nii.gz`, 16-bit; the same arguments give the same bytes.

    Args:
        image: (X, Y, Z) in RAS, whole grey levels; floats are units of T1 white matter.
        affine: voxel -> RAS mm.
        axes: directions in which the stored axes grow, any of the 48 codes.
    """
    content = _turn(image, affine, axes).to_bytes()
    _write(path, gzip.compress(content, 4, mtime=0) if path.name.endswith(".gz") else content)


def write_pair(path: Path, image: np.ndarray, affine: np.ndarray, axes: str = "RAS") -> None:
    """Write a NIfTI pair; `path` is the `.hdr`, and the voxels lie beside it in `.img`."""
    turned = _turn(image, affine, axes)
    pair = nib.Nifti1Pair(np.asarray(turned.dataobj), turned.affine, turned.header)
    _write_halves(path, pair)


def write_analyze(path: Path, image: np.ndarray, affine: np.ndarray, axes: str) -> None:
    """Write big-endian Analyze 7.5 with a fourth axis of one; nothing in it gives `axes` or a position."""
    turned = _turn(image, affine, axes)
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    voxels = np.asarray(turned.dataobj)[..., None]
    header.set_data_shape(voxels.shape)
    header.set_zooms((*nib.affines.voxel_sizes(turned.affine), 1.0))
    _write_halves(path, nib.AnalyzeImage(voxels, None, header))


def write_dicom(
    folder: Path,
    names: str | Sequence[str],
    image: np.ndarray,
    affine: np.ndarray,
    plane: str = "sagittal",
    is_one_file: bool = False,
    n_echoes: int = 1,
    description: str = "MPRAGE",
    date: str = "2011-03-14",
    vendor: str = "SIEMENS",
    model: str = "Phantom",
    field_strength_t: float = 3.0,
    age_years: float = 60.0,
    sex: str = "F",
    series_number: int = 3,
) -> list[Path]:
    """Write one MR series that also carries all of `IDENTITY`; the same arguments give the same bytes.

    Args:
        folder: made where it is missing; other series in it stay.
        names: of the files, or one name with `{}` (such as `{:03d}`) for the number, from 1.
        image: (X, Y, Z) in RAS, whole grey levels; floats are units of T1 white matter.
        affine: voxel -> RAS mm.
        plane: of the slices: axial, coronal or sagittal.
        is_one_file: enhanced multi-frame MR instead of a file a slice.
        n_echoes: with 2, each slice is written twice: a weaker contrast at a short echo time, then `image`.
        date: ISO; of the study, the series and the acquisition.

    Returns:
        The written files, in order.
    """
    turned = _turn(image, affine, PLANES[plane])
    geometry = _Geometry(turned.affine)
    voxels = np.asarray(turned.dataobj)
    series = {
        **_describe_series(description, date, vendor, model, age_years, sex),
        "MagneticFieldStrength": field_strength_t,
        "SeriesNumber": series_number,
    }
    described = f"{sorted(series.items())} {plane} {n_echoes} {geometry.to_lps.round(4).tolist()}"
    key = hashlib.sha256(described.encode() + voxels.tobytes()).hexdigest()
    frames = list(_list_frames(voxels, n_echoes))
    if is_one_file:
        datasets = [_make_enhanced(series, key, frames, geometry)]
    else:
        datasets = [
            _make_slice(series, key, number, frame, geometry) for number, frame in enumerate(frames, 1)
        ]
    numbers = range(1, len(datasets) + 1)
    names = [names.format(number) for number in numbers] if isinstance(names, str) else list(names)
    paths = [Path(folder) / name for name in names]
    if len(set(paths)) != len(datasets):
        raise ValueError(f"{len(datasets)} files need as many names, not {len(set(paths))}")
    for path, dataset in zip(paths, datasets, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return paths


def _describe_series(
    description: str, date: str, vendor: str, model: str, age_years: float, sex: str
) -> dict[str, str]:
    """What a scanner writes into each image of a series."""
    events = ("Study", "Series", "Acquisition", "Content")
    return {
        "SeriesDescription": description,
        "ProtocolName": description,
        "Manufacturer": vendor,
        "ManufacturerModelName": model,
        "PatientAge": f"{int(age_years):03d}Y",
        "PatientSex": sex,
    } | {f"{event}Date": date.replace("-", "") for event in events}


class _Geometry:
    """A grid in the words of DICOM: LPS mm, columns first."""

    def __init__(self, affine: np.ndarray):
        self.to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        column_mm, row_mm, slice_mm = (round(float(edge), 6) for edge in nib.affines.voxel_sizes(affine))
        self.slice_mm, self.pixel_spacing = slice_mm, [row_mm, column_mm]
        directions = self.to_lps[:3, :2] / [column_mm, row_mm]
        self.orientation = [round(float(cosine), 8) + 0.0 for cosine in directions.T.ravel()]

    def position(self, index: int) -> list[float]:
        """Where a slice's first voxel lies."""
        return [round(float(mm), 4) for mm in (self.to_lps @ [0, 0, index, 1])[:3]]


class _Frame(NamedTuple):
    echo: int  # from 1
    echo_time_ms: float
    place: int  # of the slice, from 0
    pixels: np.ndarray  # (rows, columns)


def _list_frames(voxels: np.ndarray, n_echoes: int) -> Iterator[_Frame]:
    """All slices of one echo, then of the other."""
    # The square root is a contrast between proton density and the image: order stays, background too.
    weak = np.round(20 * np.sqrt(np.maximum(voxels, 0))).astype(np.int16)
    volumes = (voxels,) if n_echoes == 1 else (weak, voxels)
    for echo, (volume, time_ms) in enumerate(zip(volumes, ECHO_TIMES_MS[n_echoes], strict=True), start=1):
        for index in range(volume.shape[2]):
            yield _Frame(echo, time_ms, index, np.ascontiguousarray(volume[:, :, index].T))


def _start(series: dict, key: str, sop_class: str, instance: str, pixels: np.ndarray):
    """A dataset with what all images of a series share."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = _uid(key, instance)
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE_ENDIAN)
    meta.ImplementationClassUID, meta.ImplementationVersionName = _uid("phantoms"), "PHANTOMS"
    dataset.file_meta = meta
    for name, value in {**FIXED, **IDENTITY, **series}.items():
        setattr(dataset, name, value)
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = IDENTITY["OtherPatientIDs"], "TEXT"
    dataset.OtherPatientIDsSequence = [other]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(key, "study"), _uid(key, "series")
    dataset.FrameOfReferenceUID = _uid(key, "frame of reference")
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.PixelData = pixels.astype("<i2").tobytes()
    return dataset


def _make_slice(series: dict, key: str, number: int, frame: _Frame, geometry: _Geometry):
    """One classic MR image."""
    dataset = _start(series, key, MR_IMAGE, f"image {number}", frame.pixels)
    dataset.InstanceNumber, dataset.EchoNumbers, dataset.EchoTime = number, frame.echo, frame.echo_time_ms
    dataset.ImagePositionPatient = geometry.position(frame.place)
    dataset.ImageOrientationPatient = geometry.orientation
    dataset.PixelSpacing = geometry.pixel_spacing
    dataset.SliceThickness = dataset.SpacingBetweenSlices = geometry.slice_mm
    return dataset


def _make_enhanced(series: dict, key: str, frames: list[_Frame], geometry: _Geometry):
    """One enhanced MR image that holds all frames, ordered by stack position, then echo."""
    frames = sorted(frames, key=lambda frame: (frame.place, frame.echo))
    pixels = np.stack([frame.pixels for frame in frames])
    dataset = _start(series, key, ENHANCED_MR_IMAGE, "image", pixels)
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(frames)
    measures = {
        "PixelSpacing": geometry.pixel_spacing,
        "SliceThickness": geometry.slice_mm,
        "SpacingBetweenSlices": geometry.slice_mm,
    }
    shared = {
        "PixelMeasuresSequence": measures,
        "PlaneOrientationSequence": {"ImageOrientationPatient": geometry.orientation},
        "MRTimingAndRelatedParametersSequence": {"RepetitionTime": 2300.0, "FlipAngle": 9.0},
    }
    dataset.SharedFunctionalGroupsSequence = [_nest(shared)]
    organisation = _uid(key, "dimensions")
    dataset.DimensionOrganizationSequence = [_nest({"DimensionOrganizationUID": organisation})]
    dataset.DimensionIndexSequence = [
        _nest(
            {
                "DimensionOrganizationUID": organisation,
                "DimensionIndexPointer": pointer,
                "FunctionalGroupPointer": group,
            }
        )
        for pointer, group in DIMENSIONS
    ]
    dataset.PerFrameFunctionalGroupsSequence = [_nest(_describe(frame, geometry)) for frame in frames]
    return dataset


def _describe(frame: _Frame, geometry: _Geometry) -> dict:
    """The functional groups of one frame."""
    content = {
        "StackID": "1",
        "InStackPositionNumber": frame.place + 1,
        "DimensionIndexValues": [1, frame.place + 1, frame.echo],
    }
    return {
        "FrameContentSequence": content,
        "PlanePositionSequence": {"ImagePositionPatient": geometry.position(frame.place)},
        "MREchoSequence": {"EffectiveEchoTime": frame.echo_time_ms},
    }


def _nest(content: dict):
    """A dataset of keywords and values; a dictionary becomes a sequence of one item."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for name, value in content.items():
        setattr(dataset, name, [_nest(value)] if isinstance(value, dict) else value)
    return dataset


def _uid(*parts: str) -> UID:
    """A UID below the branch that is free for all, a function of its parts."""
    from pydicom.uid import UID

    number = int(hashlib.sha256("/".join(parts).encode()).hexdigest()[:30], 16)
    return UID(f"2.25.{number}")


def _turn(image: np.ndarray, affine: np.ndarray, axes: str) -> nib.Nifti1Image:
    """16-bit integers with axes that grow as `axes` says, both codes of the header set."""
    image = np.asarray(image)
    levels = image if image.dtype.kind in "iu" else np.round(image * GREY_LEVELS)
    stored = nib.Nifti1Image(np.clip(levels, -32768, 32767).astype(np.int16), affine)
    wanted = nib.orientations.axcodes2ornt(tuple(axes))
    stored = stored.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))
    stored.header.set_xyzt_units("mm")
    stored.set_qform(stored.affine, code=1)
    stored.set_sform(stored.affine, code=1)
    return stored


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_halves(path: Path, image) -> None:
    """The `.hdr`, and the `.img` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
