"""What is taken from a DICOM header, and what never is."""

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import headers, load_cohort, settle_options
from braing3n.cohort.headers import normalise_vendor, read_header, round_field_strength
from braing3n.inventory.scans import find_scans
from braing3n.phantoms.formats import PLANTED, write_dicom

SHAPE = (9, 10, 12)
AFFINE = np.diag([1.5, 2.0, 3.0, 1.0])
IMAGE = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
SERIES = {
    "description": "SAG 3D T1",
    "date": "2012-11-05",
    "vendor": "GE MEDICAL SYSTEMS",
    "model": "DISCOVERY MR750",
    "field_strength_t": 2.89362,
    "age_years": 62,
}
FACTS = {
    "vendor": "GE",
    "model": "DISCOVERY MR750",
    "field_strength_t": "3",
    "scan_date": "2012-11-05",
    "age_years": "62",
    "spacing_mm": "3",
    "extent_mm": "13.5",
    "image_type": "ORIGINAL\\PRIMARY\\M\\ND",
    "description": "SAG 3D T1",
}
# (rows, columns, slices): a slice's columns grow along its first axis.
SIZES = {"axial": ("10", "9", "12"), "coronal": ("12", "9", "10"), "sagittal": ("12", "10", "9")}


@pytest.mark.parametrize("n_echoes", [1, 2])
@pytest.mark.parametrize("is_one_file", [False, True])
@pytest.mark.parametrize("plane", SIZES)
def test_facts_of_every_kind_of_series(tmp_path, capfd, caplog, plane, is_one_file, n_echoes):
    paths = write_dicom(tmp_path, "im_{}.dcm", IMAGE, AFFINE, plane, is_one_file, n_echoes, **SERIES)
    facts = read_header(paths[::-1])
    size = dict(zip(("rows", "columns", "n_slices"), SIZES[plane], strict=True))
    assert facts == FACTS | size | {"echo_times_ms": {1: "3", 2: "12,96"}[n_echoes]}
    written = " ".join([*facts.values(), *capfd.readouterr(), caplog.text])
    assert [text for text in PLANTED if text in written] == []


def test_no_element_beyond_the_list_is_read_and_at_most_two_files_are(tmp_path, monkeypatch):
    paths = write_dicom(tmp_path, "{}.dcm", IMAGE, AFFINE, n_echoes=2)
    read, seen = headers._read, []

    def watch(path):
        seen.append((path, read(path)))
        return seen[-1][1]

    monkeypatch.setattr(headers, "_read", watch)
    read_header(paths)
    assert [path.name for path, _ in seen] == ["1.dcm", "18.dcm"], "18 is the last, not 9"
    for _, header in seen:
        assert {element.keyword for element in header} <= {*headers.TAGS, "SpecificCharacterSet"}
        assert [text for text in PLANTED if text in str(header)] == []


def edit(path, **values):
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return read_header([path])


@pytest.fixture
def slice_path(tmp_path):
    return write_dicom(tmp_path, "{}.dcm", IMAGE, AFFINE)[0]


@pytest.mark.parametrize(
    ("age", "years"), [("062Y", "62"), ("018M", "1.5"), ("052W", "1"), ("073D", "0.2"), (None, None)]
)
def test_age_is_in_years(slice_path, age, years):
    assert edit(slice_path, PatientAge=age).get("age_years") == years


def test_missing_and_odd_elements_cost_only_their_own_fact(slice_path):
    facts = edit(
        slice_path, AcquisitionDate=None, SeriesDate="", SpacingBetweenSlices=None, SliceThickness=4.5
    )
    assert facts["scan_date"] == "2011-03-14", "the study's"
    assert facts["spacing_mm"] == "4.5"
    facts = edit(slice_path, StudyDate="99999999", PixelSpacing=None, Manufacturer=None, EchoTime=None)
    assert {"scan_date", "spacing_mm", "vendor", "echo_times_ms"}.isdisjoint(facts)
    assert facts["model"] == "Phantom"


def test_what_is_no_dicom_gives_nothing(tmp_path, capfd):
    text, empty = tmp_path / "a.dcm", tmp_path / "b.dcm"
    text.write_text(PLANTED[0] * 100)
    empty.write_bytes(b"")
    assert [read_header(paths) for paths in ([text], [empty], [tmp_path / "gone.dcm"], [])] == [{}] * 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("General Electric", "GE"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA_MEC", "Canon"),
        ("CANON_MEC", "Canon"),
        ("UIH", "United Imaging"),
        ("Hitachi Medical Image", "Hitachi Medical Image"),
        (" ", ""),
    ],
)
def test_vendors_have_one_name(text, vendor):
    assert normalise_vendor(text) == vendor


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.494, "1.5"),
        (2.89, "3"),
        (3.0, "3"),
        (6.98, "7"),
        (15000, "1.5"),
        (30000, "3"),
        (0.55, "0.55"),
        (0, ""),
    ],
)
def test_field_strength_is_the_usual_one(value, text):
    assert round_field_strength(value) == text


def test_no_header_is_read_of_a_series_that_its_name_leaves_out(tmp_path):
    cohort, asked = load_cohort("ppmi"), []
    for series in ("MPRAGE_GRAPPA2", "DTI_gated", "2D_GRE-MT", "ep2d_RESTING_STATE", "localizer"):
        folder = tmp_path / "PPMI" / "90001" / series / "2012-03-14_10_11_12.0" / "I900101"
        folder.mkdir(parents=True)
        (folder / "PPMI_90001_MR_1.dcm").write_bytes(b"")

    def read_header(paths, stamp):
        asked.extend(paths)
        return {"vendor": "Siemens"}

    walk = find_scans(cohort, tmp_path, "ppmi", settle_options("ppmi", cohort, {}), read_header)
    assert len(asked) == 1
    assert "MPRAGE" in asked[0]
    assert [scan.facts["vendor"] for scan in walk.scans] == ["Siemens"]
    assert len(walk.left_out) == 4


@pytest.mark.parametrize("n_frames", [-5, 0, None])
def test_a_number_of_frames_below_one_is_one(slice_path, n_frames):
    dataset = pydicom.dcmread(slice_path)
    dataset.NumberOfFrames = n_frames
    dataset.save_as(slice_path)
    assert read_header([slice_path, slice_path])["n_slices"] == "2"


@pytest.fixture(scope="module")
def header_path(tmp_path_factory):
    return write_dicom(tmp_path_factory.mktemp("header"), "{}.dcm", IMAGE, AFFINE)[0]


@given(st.sampled_from(headers.FIELD_STRENGTHS_T), st.floats(-0.09, 0.09), st.booleans())
def test_a_usual_strength_reads_back_from_tesla_and_gauss_and_from_near_it(strength_t, error, is_gauss):
    # 4 and 4.7 T are nearer to each other than a tenth
    error *= 0.5 if strength_t in (4.0, 4.7) else 1
    value = strength_t * (1 + error)
    assert round_field_strength(value * 10_000 if is_gauss else value) == f"{strength_t:g}"


@given(st.floats())
def test_a_strength_is_a_scanners_or_nothing(value):
    text = round_field_strength(value)
    assert text == "" or 0.01 <= float(text) <= 20
    tesla = value / 10_000 if value > 20 else value
    assert text or not 0.01 <= tesla <= 20


@given(st.text(), st.sampled_from(("Siemens", "GE", "Philips", "Canon", "United Imaging")), st.booleans())
def test_a_vendor_has_one_name_in_any_case_and_company(text, vendor, is_upper):
    assert normalise_vendor(normalise_vendor(text)) == normalise_vendor(text)
    assert normalise_vendor(f" {vendor.upper() if is_upper else vendor.lower()} (99, b) ") == vendor
    assert normalise_vendor(text) or not text.strip()


@given(st.integers(0, 999), st.sampled_from("YMWD"))
def test_an_age_string_reads_back_in_its_unit(number, unit):
    per_year = {"Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[unit]
    for text in (f"{number:03d}{unit}", f" {number}{unit.lower()} "):
        assert float(headers._read_age(text)) * per_year == pytest.approx(number, abs=0.005 * per_year + 1e-6)


@given(age=st.text(st.sampled_from("0189 YMWD.-"), max_size=6))
def test_an_odd_age_costs_no_other_fact(header_path, age):
    dataset = pydicom.dcmread(header_path)
    dataset.add_new("PatientAge", "SH", age)  # what its own type would not let through
    dataset.save_as(header_path)
    facts = read_header([header_path])
    assert facts["model"] == "Phantom"
    assert float(facts.get("age_years", 0)) >= 0
    assert "age_years" in facts or not age.strip().removesuffix("Y").isdecimal()
