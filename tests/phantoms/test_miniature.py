"""The raw download of phantoms: valid BIDS, the same bytes twice, never over a stranger's files."""

import json
import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.core.errors import ConfigurationError, ResourceError
from braing3n.core.runtime import digest_file
from braing3n.phantoms.anatomy import load_anatomy
from braing3n.phantoms.miniature import write_miniature
from braing3n.phantoms.people import draw_people
from braing3n.phantoms.scanner import scan_head

OPTIONS = {"n_people": 8, "seed": 3, "spacing_mm": 5.0, "follow_up_share": 0.2, "extra_modality_share": 0.2}
NAME = re.compile(
    r"sub-[A-Za-z0-9]+/(ses-\d+/)?anat/sub-[A-Za-z0-9]+(_ses-\d+)?(_ce-gadolinium)?_(T1w|T2w|FLAIR)\.(nii\.gz|json)"
    r"|sub-[A-Za-z0-9]+/sub-[A-Za-z0-9]+_sessions\.tsv"
    r"|dataset_description\.json|participants\.tsv|README|\.phantoms-key"
)


@pytest.fixture(scope="module")
def raw_dir(wheels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "raw"
    write_miniature(folder, OPTIONS, *wheels)
    return folder


def digest_tree(folder):
    return {str(p.relative_to(folder)): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_name_is_bids_and_every_person_has_a_t1(raw_dir):
    names = digest_tree(raw_dir)
    assert [name for name in names if not NAME.fullmatch(name)] == []
    table = pd.read_csv(raw_dir / "participants.tsv", sep="\t", keep_default_na=False)
    assert len(table) == OPTIONS["n_people"]
    for subject in table.participant_id:
        assert list((raw_dir / subject).rglob("*_T1w.nii.gz"))
    assert set(table.columns) >= {
        "age",
        "sex",
        "group",
        "site",
        "handedness",
        "idh1",
        "control_decoy",
        "control_head_size",
    }
    assert (table.idh1[table.group != "GBM"] == "n/a").all()


def test_sessions_and_sidecars_say_when_and_where(raw_dir):
    tables = list(raw_dir.glob("sub-*/sub-*_sessions.tsv"))
    assert tables
    visits = pd.read_csv(tables[0], sep="\t")
    assert list(visits.session_id) == ["ses-01", "ses-02"]
    assert visits.age.diff().iloc[1] >= 2
    for image in raw_dir.rglob("*.nii.gz"):
        sidecar = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["Manufacturer"]
        assert sidecar["MagneticFieldStrength"] in (1.5, 3.0)


def test_the_same_options_give_the_same_bytes_and_are_not_written_twice(raw_dir, wheels, tmp_path):
    again = tmp_path / "again"
    write_miniature(again, OPTIONS | {"n_processes": 1}, *wheels)
    assert digest_tree(again) == digest_tree(raw_dir)
    before = (again / "participants.tsv").stat().st_ino
    write_miniature(again, OPTIONS, *wheels)
    assert (again / "participants.tsv").stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_all_orientations_show_the_same_kind_of_head(raw_dir):
    axes = set()
    for path in raw_dir.rglob("*_T1w.nii.gz"):
        image = nib.load(path)
        axes.add("".join(nib.aff2axcodes(image.affine)))
        values = np.asarray(nib.as_closest_canonical(image).dataobj, dtype=float)
        third = values.shape[2] // 3
        assert values[..., third:].mean() > 50  # a head, not air
        assert values[:, :, -1].mean() < 0.3 * values[:, :, third:].mean()  # air above the crown
    assert len(axes) >= 2


def test_a_strangers_folder_and_an_unknown_option_are_refused(wheels, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigurationError, match="not phantoms"):
        write_miniature(tmp_path, OPTIONS, *wheels)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    with pytest.raises(ConfigurationError, match="'n_poeple'"):
        write_miniature(tmp_path / "new", {"n_poeple": 3}, *wheels)


def test_a_broken_wheel_is_one_sentence(wheels, tmp_path):
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip")
    with pytest.raises(ResourceError, match=r"broken\.whl"):
        load_anatomy(broken, wheels[1])


def test_brain_volume_follows_head_size(world):
    people = draw_people(10, 4)
    volumes = [scan_head(world, person, 0, "T1", 5.0)[2].sum() * 0.125 for person in people]
    cubes = [person.head_size**3 for person in people]
    assert np.corrcoef(volumes, cubes)[0, 1] > 0.98
    assert all(950 < volume < 1900 for volume in volumes)
