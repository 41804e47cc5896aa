"""An invented raw corpus of 35,309 volumes in the 18 cohorts' own layouts, for bench/ingest.py.

Each cohort's miniature with its people copied, under new ids, as often as the paper has volumes: images with
valid headers of true shape and next to no voxels, DICOM series of as many files as real ones (the first and
the last can be read), tables as long and as wide as real ones.
"""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from braing3n.cohort import load_cohort

SUBJECTS_A_SHARD = 50
DICOM = ("adni", "ppmi")
# What is an id in a cohort's miniature, the form of new ones, and how many people are made after whom.
COHORTS = r"""
adni (90\d_S_\d{4,5}) {site:03d}_S_{n:04d}
    901_S_0001*996 902_S_4002*303 903_S_6003*111 904_S_10004*1100 905_S_0005*82
ppmi (?<!\d)(9000\d)(?!\d) 1{n:04d} 90001*500 90002*504 90003*404 90004*76
upenn_gbm (UPENN-GBM-\d{5}) UPENN-GBM-{n:05d} UPENN-GBM-90001*611 UPENN-GBM-90612*19
ucsf_pdgm (UCSF-PDGM-9\d{3}) UCSF-PDGM-{n:04d} UCSF-PDGM-9004*495 UCSF-PDGM-9006*6
oasis1 (OAS1_9\d{3}) OAS1_{n:04d} OAS1_9001*300 OAS1_9003*20 OAS1_9005*96
oasis2 (OAS2_9\d{3}) OAS2_{n:04d} OAS2_9001*100 OAS2_9002*86 OAS2_9003*1
schizo (A9000000\d) A{n:08d} A90000001*335 A90000005*60
hcp_ya (?<!\d)(90000\d)(?!\d) 10{n:04d} 900001*45 900002*1068 900004*3 900005*90
ixi (?<!\d)(90[0-4])(?!\d) {n:03d} 900*577 902*4 903*1
nki_rs (A000999\d\d) A{n:08d} A00099901*1129 A00099902*100 A00099903*50 A00099904*40 A00099905*7
nki_rs2 ([AM]\d{8}) M{n:08d} A00099901*102 A00099951*60 M10999001*50 A00099952*10 A00099953*34
hbn (NDARZZ00\w{4}) NDARZ{n:07d}
    NDARZZ001AA1*100 NDARZZ002BB2*935 NDARZZ003CC3*1000 NDARZZ004DD4*400 NDARZZ005EE5*100
bgsp (Sub9\d{3}) Sub{n:04d} Sub9001*68 Sub9002*1490 Sub9004*10
abide1 (?<!\d)0*(599\d\d)(?!\d) 005{n:04d}
    59901*300 59902*384 59903*100 59904*128 59905*57 59906*55 59907*88
abide2 (?<!\d)([35]99\d\d)(?!\d) 3{n:04d} 39901*600 39902*310 39903*34 39904*100 59907*38
fcon1000 (sub9000\d) sub{n:05d} sub90001*400 sub90002*198 sub90003*25 sub90004*174
adhd200 (?<!\d)0*(199900\d|[12]990\d)(?!\d) 1{n:06d} 1999001*100 19902*250 29903*26 19904*61 1999005*161
corr (?<!\d)0*(2990\d|9903)(?!\d) 1{n:06d} 29901*250 29902*150 9903*50 29904*50 29905*36 29906*10
"""
COHORTS = {words[0]: words[1:] for words in map(str.split, re.split(r"\n(?! )", COHORTS.strip()))}
# People who come back: the same scans and rows again, a year later each time.
VISITS = {"901_S_0001": 4, "904_S_10004": 2, "905_S_0005": 4, "90001": 2}
# Files of a DICOM series, by a part of its folder's name.
N_SLICES = {"GRE-MT": 20, "PD-T2": 96, "AX_FLAIR": 30, "MSV21": 208, "Accelerated": 151, "SAG_3D_T2": 1}
N_SLICES_ELSE, SLICE_BYTES = 176, 131_990
# What a visit of PPMI holds beside the miniature's series, and its files. No public list counts them; the
# numbers are those of the protocol (a mosaic a volume of diffusion and of rest).
FURTHER_SERIES = {"DTI_gated": 130, "ep2d_RESTING_STATE": 210, "localizer": 9, "B0rf_Map": 72}
SHAPES = {"upenn_gbm": (240, 240, 155), "ucsf_pdgm": (240, 240, 155), "hcp_ya": (260, 311, 260)}
SHAPE_ELSE = (176, 256, 256)
# Columns of real tables, by a part of the name, and lines a person of those that have one a file.
N_COLUMNS = {
    "unrestricted": 582,
    "RESTRICTED": 201,
    "Phenotypic_V1_0b": 74,
    "ABIDEII_Comp": 348,
    "_Long_Comp": 349,
}
N_LINES = {"aws_links.csv": 33}
SIDECARS = ("nki_rs", "nki_rs2", "hbn")  # an image has a JSON file beside it
SIDECAR = b'{"Manufacturer": "SIEMENS", "MagneticFieldStrength": 3, "EchoTime": 0.00252}'
# Study tables that the miniatures lack: header, a person's line, how many of them.
STUDY = {
    "adni": {
        "CDR_01May2026.csv": ("PTID,VISDATE,CDGLOBAL", "{id},{year}-03-15,0.5", 6),
        "GDSCALE_01May2026.csv": ("PTID,VISDATE,GDTOTAL", "{id},{year}-03-15,2", 6),
        "APOERES_01May2026.csv": ("PTID,GENOTYPE", "{id},3/4", 1),
    },
    "ppmi": {
        "MDS-UPDRS_Part_III_11Apr2026.csv": (
            "PATNO,EVENT_ID,INFODT,PDSTATE,NP3TOT" + ",NP3" * 60,
            "{id},V{i:02d},03/{year},OFF,27" + ",1" * 60,
            20,
        ),
        "Montreal_Cognitive_Assessment__MoCA__11Apr2026.csv": (
            "PATNO,EVENT_ID,INFODT,MCATOT" + ",MCA" * 30,
            "{id},V{i:02d},03/{year},27" + ",1" * 30,
            8,
        ),
        "Magnetic_Resonance_Imaging__MRI__11Apr2026.csv": (
            "PATNO,EVENT_ID,INFODT,MRICMPLT",
            "{id},V{i:02d},03/{year},1",
            4,
        ),
        "Age_at_visit_11Apr2026.csv": ("PATNO,EVENT_ID,AGE_AT_VISIT", "{id},V{i:02d},61.5", 20),
    },
}
COLLECTION = '"Image Data ID","Subject","Group","Sex","Age","Visit","Acq Date"\n'


class Tree:
    """Writes the raw tree of one cohort."""

    def __init__(self, key: str, folder: Path, is_whole: bool = False):
        self.key, self.folder, self.is_whole = key, folder, is_whole
        self.token, self.form, *people = COHORTS[key]
        self.people = {person: int(n) for person, n in (item.split("*") for item in people)}
        self.miniature = load_cohort(key).miniature
        self.made: set[str] = set()
        self.collection = [COLLECTION]
        self.n_files = 0

    def write(self) -> int:
        """Everything; the number of its files."""
        from braing3n.inventory.miniature import read_paths, write_table_file

        scans: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for path, note in read_paths(self.miniature.files):
            scans[self.find_person(path)].append((path, note))
        for copy in self.list_copies():
            for path, note in scans[copy["person"]]:
                self.write_scan(self.rename(path, copy), note, copy)
            if self.is_whole:
                self.write_further(copy)
        for name, text in self.miniature.tables.items():
            if not name.endswith((".xml", ".json")):  # those every image has, see describe_image
                for path, content in self.copy_table(name, text):
                    write_table_file(self.folder / path, content)
                    self.n_files += 1
        for name, (header, line, n_lines) in STUDY.get(self.key, {}).items():
            lines = [
                line.format(id=copy["id"], i=i, year=2006 + i)
                for copy in self.list_copies()
                for i in range(0 if copy["visit"] else n_lines)
            ]
            self.write_file(name, "\n".join([header, *lines, ""]).encode())
        if len(self.collection) > 1:
            self.write_file(f"{self.key}_5_01_2026.csv", "".join(self.collection).encode())
        return self.n_files

    def find_person(self, text: str) -> str:
        """Whom of the miniature a path or a line is about; empty: nobody."""
        match = re.search(self.token, text)
        return match[1] if match else ""

    def list_copies(self) -> Iterator[dict]:
        """Each visit of each new person: whose copy it is, the new id and the number of the visit."""
        people = [person for person, n_people in self.people.items() for _ in range(n_people)]
        serial = 10_000
        for number, person in enumerate(people, start=1):
            new_id = self.form.format(n=number, site=number % 300)
            for visit in range(VISITS.get(person, 1)):
                serial += 1
                yield {"person": person, "id": new_id, "visit": visit, "serial": serial, "number": number}

    def rename(self, text: str, copy: dict) -> str:
        """A path or a line of the miniature for a new person and visit."""
        text = re.sub(self.token, copy["id"], text)
        if self.key == "hcp_ya":  # a family is two people
            return re.sub(r"9000\d_9000\d", str(copy["number"] // 2), text)
        if self.key not in DICOM:
            return text
        text = re.sub(r"(?<=I)900\d+", lambda image: f"{copy['serial']}{image[0][-2:]}", text)
        return re.sub(r"20\d\d(?=-\d\d-\d\d)", lambda year: str(int(year[0]) + copy["visit"]), text)

    def copy_table(self, name: str, text: str) -> Iterator[tuple[str, str]]:
        """The files that one table of the miniature becomes: one a person, or one with all people's lines."""
        if self.find_person(name):
            for copy in self.list_copies():
                if copy["person"] == self.find_person(name):
                    yield self.rename(name, copy), self.rename(text, copy)
            return
        n_columns = next((n for part, n in N_COLUMNS.items() if part in name), 0)
        header, lines = [], defaultdict(list)
        for line in text.splitlines(keepends=True):
            end = line[len(line.rstrip("\r\n")) :]
            line = line.rstrip("\r\n")
            line += "," * max(0, n_columns - 1 - line.count(",")) + end
            person = self.find_person(line)
            (lines[person] if person else header).append(line)
        for copy in self.list_copies():
            for line in lines[copy["person"]]:
                if not copy["visit"] or re.search(r"20\d\d-\d\d-\d\d", line):
                    header += [self.rename(line, copy)] * N_LINES.get(name, 1)
        if header:
            yield name, "".join(header)

    def write_scan(self, path: str, note: str, copy: dict) -> None:
        """An image, or all files of a series, and what lies beside it."""
        if path.endswith(".dcm"):
            self.write_series(path, note)
        else:
            self.write_file(path, *make_image(self.key, path[path.index(".", path.rindex("/")) :]))
        if self.key in DICOM:
            self.describe_image(path, copy)
        elif self.key in SIDECARS and path.endswith("w.nii.gz"):
            self.write_file(path.replace(".nii.gz", ".json"), SIDECAR)

    def write_series(self, path: str, note: str) -> None:
        """As many files as the real series has; what lies between the first and the last is holes."""
        series = path.split("/")[-4]
        n_slices = next((n for part, n in N_SLICES.items() if part in series), N_SLICES_ELSE)
        first, last = make_slices(note)
        for number in range(1, n_slices + 1):
            name = re.sub(r"(_raw_\d+_)\d+", rf"\g<1>{number}", path)
            content = first if number == 1 else last if number == n_slices else b""
            self.write_file(name, content, 0 if content else SLICE_BYTES)

    def write_further(self, copy: dict) -> None:
        """The series of a visit that are none of ours, each an image with an id of its own."""
        for number, (series, n_files) in enumerate(FURTHER_SERIES.items()):
            image = f"{copy['serial']}{50 + number}"
            folder = f"PPMI/{copy['id']}/{series}/{2012 + copy['visit']}-03-14_11_00_00.0/I{image}"
            name = f"PPMI_{copy['id']}_MR_{series}__br_raw_20150101101010101_{{}}_S1_I{image}.dcm"
            first, _ = make_slices("")
            for file in range(1, n_files + 1):
                self.write_file(f"{folder}/{name.format(file)}", first if file == 1 else b"", SLICE_BYTES)
            self.describe_image(f"{folder}/{name.format(1)}", copy)

    def describe_image(self, path: str, copy: dict) -> None:
        """The archive's XML file of an image, and its line of the collection's list."""
        xml = next(text for name, text in load_cohort("adni").miniature.tables.items() if ".xml" in name)
        image = re.search(r"_I(\d+)\.", path)[1]
        terms = "".join(f'<protocol term="Term {i}">{i}</protocol>' for i in range(30))
        xml = xml.replace("901_S_0001", copy["id"]).replace("900003", image)
        xml = xml.replace("<subjectSex>", f"{terms}<subjectSex>")
        self.write_file(f"{self.key.upper()}/{Path(path).stem}.xml", xml.encode())
        self.collection.append(f'"I{image}","{copy["id"]}","CN","F","70","bl","1/02/2010"\n')

    def write_file(self, path: str, content: bytes, n_bytes: int = 0) -> None:
        """One file of these bytes, stretched to `n_bytes` by a hole."""
        folder = path.rpartition("/")[0]
        if folder not in self.made:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            self.made.add(folder)
        file = os.open(f"{self.folder}/{path}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.write(file, content)
        if n_bytes > len(content):
            os.ftruncate(file, n_bytes)
        os.close(file)
        self.n_files += 1


@cache
def make_image(key: str, extension: str) -> tuple[bytes, int]:
    """The bytes of an image's header, and how long the file is."""
    import nibabel as nib

    shape = SHAPES.get(key, SHAPE_ELSE)
    n_bytes = 2 * shape[0] * shape[1] * shape[2]
    if key == "oasis1":
        header = nib.AnalyzeHeader(endianness=">")
    else:
        header = nib.Nifti1Pair.header_class() if extension.endswith(".hdr") else nib.Nifti1Header()
        header["vox_offset"] = 0 if extension.endswith(".hdr") else 352
    header.set_data_dtype("int16")
    header.set_data_shape(shape)
    if extension.endswith(".gz"):
        return gzip.compress(header.binaryblock + bytes(4 + 1000), mtime=0), 0
    if extension.endswith((".hdr", ".nii")):
        return header.binaryblock, 0 if extension.endswith(".hdr") else 352 + n_bytes
    return b"", n_bytes if extension.endswith(".img") else 0


@cache
def make_slices(note: str) -> tuple[bytes, bytes]:
    """The first and the last file of a series as its note describes it."""
    import numpy as np

    from braing3n.phantoms.formats import write_dicom

    spacing = re.search(r"([\d.]+) mm", note)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_dicom(
            Path(folder),
            "{:03d}.dcm",
            np.zeros((64, 64, 64 if "one file" in note else 2), np.int16),
            np.diag([1.0, 1.0, float(spacing[1]) if spacing else 1.0, 1.0]),
            plane="axial",
            is_one_file="one file" in note,
            n_echoes=2 if "dual echo" in note else 1,
        )
        return paths[0].read_bytes(), paths[-1].read_bytes()


def write_corpus(folder: Path, keys: list[str], is_whole: bool) -> None:
    """The raw tree of some cohorts, and the configuration that names them."""
    cohorts = {}
    for key in keys:
        start = time.monotonic()
        tree = Tree(key, folder / "raw" / key, is_whole)
        n_files = tree.write()
        n_shards = -(-sum(tree.people.values()) // SUBJECTS_A_SHARD)
        cohorts[key] = {"raw_dir": f"raw/{key}", "n_shards": n_shards}
        print(f"wrote {key}: {n_files} files in {time.monotonic() - start:.0f} s", flush=True)
    (folder / "corpus.yaml").write_text(yaml.safe_dump({"run": "corpus", "cohorts": cohorts}))
