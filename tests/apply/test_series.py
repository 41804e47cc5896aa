"""Series of DICOM: which study is which visit."""

import numpy as np
import pydicom

from braing3n.apply.series import find_series
from braing3n.phantoms.formats import write_dicom


def write_study(folder, uid, date):
    """A T1 series of a study."""
    image = np.ones((8, 8, 8), np.int16)
    for path in write_dicom(folder, "{:03d}", image, np.eye(4), description="MPRAGE", series_number=2):
        header = pydicom.dcmread(path)
        header.StudyInstanceUID, header.StudyDate = uid, date
        header.save_as(path)


def test_visits_are_numbered_by_date_whatever_the_studies_ids(tmp_path):
    write_study(tmp_path / "raw" / "a", "2.25.7", "20010101")
    write_study(tmp_path / "raw" / "b", "2.25.8", "19900101")
    write_study(tmp_path / "raw" / "c", "2.25.1", "20100101")
    found = {series.path.name: series.session_id for series in find_series(tmp_path / "raw", tmp_path)}
    assert found == {"b": "1", "a": "2", "c": "3"}
