"""The walk over a raw folder ends, whatever links it holds."""

from braing3n.cohort import Walk
from braing3n.inventory.files import list_files


def test_a_link_to_a_folder_that_it_lies_in_is_reported_and_not_followed(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scan.nii").write_bytes(b"1")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    walk = Walk()
    found = [path.removeprefix(f"{tmp_path}/") for path, _ in list_files(tmp_path, {}, walk)]
    assert found == ["a/scan.nii", "a/to_b/scan.nii", "b/scan.nii", "b/to_a/scan.nii"]
    assert {path.removeprefix(f"{tmp_path}/") for path in walk.unused} == {
        "a/up",
        "a/to_b/to_a",
        "b/to_a/to_b",
        "b/to_a/up",
    }
    assert set(walk.unused.values()) == {"a link to a folder that it lies in"}
