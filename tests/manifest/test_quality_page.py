"""The quality page: every volume on it, the worst first, and neither folders nor markup from outside."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest

from braing3n.core.contracts import write_table
from braing3n.core.errors import ContractError
from braing3n.manifest.quality import page as quality_page
from braing3n.manifest.quality.page import write_page
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.contracts import VOLUMES

N_GOOD = 12
# A JPEG of one pixel would do; the page embeds bytes and decodes none.
PICTURE = b"\xff\xd8\xff picture"


class Cards(HTMLParser):
    """The page's cards in order: id -> attributes, text and picture."""

    def __init__(self, text):
        super().__init__()
        self.cards, self.links, self.here = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "article":
            self.here = attributes["id"]
            self.cards[self.here] = attributes | {"text": "", "marked": 0, "chosen": ""}
        elif self.here and tag == "img":
            self.cards[self.here]["src"] = attributes["src"]
        elif self.here and attributes.get("class") == "why":
            self.cards[self.here]["why"] = attributes["value"]
        elif self.here and attributes.get("class") == "bad":
            self.cards[self.here]["marked"] += 1
        self.links += [value for name, value in attributes.items() if name in ("src", "href")]

    def handle_endtag(self, tag):
        self.here = None if tag == "article" else self.here

    def handle_data(self, text):
        if self.here:
            self.cards[self.here]["text"] += text


def make_cohort(tmp_path):
    """One shard: twelve volumes alike, a noisy one, a lone T2, and two excluded with awkward reasons."""
    folder, volumes_dir = tmp_path / "preprocess" / "lab", tmp_path / "volumes"
    numbers = {"atlas_dice": 0.95, "atlas_mutual_information": 0.5, "negative_share": 0.0}
    numbers |= {
        "n_refused": 0,
        "coverage": 1.0,
        "atlas_coverage": 1.0,
        "clipped_share": 0.0,
        "saturated_share": 0.0,
    }
    numbers |= {"centre_mutual_information": float("nan"), "size_mismatch": 0.05, "missing_share": 0.0}
    rows = []
    for k in range(N_GOOD + 2):
        modality = "T2" if k == N_GOOD + 1 else "T1"
        name = f"lab_sub-{k:02d}_{modality}"
        picture = folder / f"sub-{k:02d}" / "anat" / f"{name}.jpg"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(PICTURE + bytes([k]))
        row = dict.fromkeys(PREPROCESS, "") | numbers
        row |= {"volume_id": name, "cohort": "lab", "subject_id": f"{k:02d}", "modality": modality}
        row |= {"status": "kept", "picture_path": str(picture), "steps": "n4;extract:deepbet;affine"}
        row |= {"native_brain_ml": 1400.0, "affine_determinant": 1.0, "bias_field_range": 1.5}
        rows.append(row | {"noise": 0.3 if k == N_GOOD else 0.03 + 0.001 * (k % 3)})
    rows[2]["steps"] = "n4;extract:deepbet (9% of the mask lies apart);affine"
    lost = dict.fromkeys([name for name, (kind, _) in PREPROCESS.items() if kind is float], float("nan"))
    for name, reason in (
        ("a", "scan.nii.gz: <script>alert(1)</script> & more"),
        ("b", "s.nii.gz: a tool failed (OSError: No such file: '/data/secret/sub-b/s.nii.gz')."),
    ):
        row = dict.fromkeys(PREPROCESS, "") | lost | {"modality": "T1", "cohort": "lab"}
        row["n_refused"] = 0
        rows.append(row | {"volume_id": f"lab_sub-{name}_T1", "status": "excluded", "reason": reason})
    write_table(pd.DataFrame(rows), folder / "shard-000.parquet", PREPROCESS)
    kept = [row["volume_id"] for row in rows if row["status"] == "kept"]
    packed = pd.DataFrame({"volume_id": kept, "row": range(len(kept))})
    packed = packed.assign(crc32=0, mean=0.0, deviation=1.0, far_voxels="", n_brain_voxels=9)
    write_table(packed.assign(cropped_brain_share=0.01), volumes_dir / "lab" / "shard-000.parquet", VOLUMES)
    return folder, volumes_dir


@pytest.fixture
def write(tmp_path):
    """Write the page of a small cohort; returns its text."""
    folder, volumes_dir = make_cohort(tmp_path)

    def go(review="", max_outlier_score=0.0):
        path = tmp_path / "review.tsv"
        path.write_text("volume_id\tdecision\treason\n" + review)
        tables = [folder / "shard-000.parquet"]
        write_page(tables, volumes_dir, path, max_outlier_score, folder / "quality.html")
        return (folder / "quality.html").read_text()

    return go


def test_every_volume_is_on_the_page_the_worst_first_with_its_numbers_marked(write):
    cards = Cards(write()).cards
    assert len(cards) == N_GOOD + 2
    first, second, *others = cards.values()
    assert first["id"] == f"lab_sub-{N_GOOD + 1}_T2"
    assert "not judged: 1 such volumes, 10 are needed" in first["text"]
    assert second["id"] == f"lab_sub-{N_GOOD}_T1"
    assert second["class"] == "outlying"
    assert "in noise over median" in second["text"]
    assert second["marked"] == 1
    assert all(card["class"] == "" for card in others)
    assert cards["lab_sub-02_T1"]["marked"] == 1  # the mask's fault
    assert "Dice 0.950" in second["text"]


def test_the_page_needs_nothing_beside_it_and_tells_of_no_folder(write, tmp_path):
    text = write()
    page = Cards(text)
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in page.links)
    assert str(tmp_path) not in text
    assert "/data/secret" not in text
    assert "No such file: 's.nii.gz'" in unescape(text)


def test_excluded_scans_stand_at_the_top_and_what_they_say_is_no_markup(write):
    text = write("lab_sub-03_T1\tdrop\tghosts <b>\n")
    top = text[: text.index("<main")]
    assert "16 scans: 2 excluded in preprocessing, 1 afterwards, 13 kept" in top
    assert "<script>alert" not in text
    assert "scan.nii.gz: &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in top
    assert "<a href='#lab_sub-03_T1'>lab_sub-03_T1</a></td><td>dropped in review: ghosts &lt;b&gt;" in top
    assert text.count("<script>") == 1


def test_what_was_decided_is_shown_and_goes_into_the_next_file(write):
    text = write("lab_sub-03\tdrop\t</script>'\nadni_sub-1_T1\tkeep\tseen\n")
    cards = Cards(text).cards
    assert cards["lab_sub-03_T1"]["data-decision"] == "drop"
    assert cards["lab_sub-03_T1"]["why"] == "</script>'"
    assert cards["lab_sub-04_T1"]["data-decision"] == ""
    shown = json.loads(re.search(r"id='review'>(.*?)</script>", text)[1])
    assert shown["rows"] == [["lab_sub-03", "drop", "</script>'"], ["adni_sub-1_T1", "keep", "seen"]]


def test_outliers_that_are_excluded_are_listed_with_the_setting(write):
    text = write(max_outlier_score=6.0)
    assert (
        f"lab_sub-{N_GOOD}_T1</a></td><td>outlier in its cohort by noise (manifest.max_outlier_score 6)"
        in text
    )


def test_of_a_large_cohort_only_the_worst_carry_their_pictures(write, monkeypatch, tmp_path):
    monkeypatch.setattr(quality_page, "MAX_EMBEDDED", 3)
    cards = list(Cards(write()).cards.values())
    embedded = [card["src"].startswith("data:image/jpeg;base64,") for card in cards]
    assert embedded == [True] * 3 + [False] * (len(cards) - 3)
    for card in cards[3:]:
        assert (tmp_path / "preprocess" / "lab" / card["src"]).read_bytes().startswith(PICTURE)


def test_a_cohort_of_which_nothing_was_kept_has_its_reasons(write, tmp_path):
    for contract in (PREPROCESS, VOLUMES):
        path = tmp_path / contract.name / "lab" / "shard-000.parquet"
        table = pd.read_parquet(path)
        table = table[table["status"] == "excluded"] if contract is PREPROCESS else table.iloc[:0]
        write_table(table, path, contract)
    text = write()
    assert "2 scans: 2 excluded in preprocessing, 0 afterwards, 0 kept" in text
    assert not Cards(text).cards


def test_a_lost_picture_is_one_sentence(write, tmp_path):
    next((tmp_path / "preprocess").rglob("*.jpg")).unlink()
    with pytest.raises(ContractError, match=r"jpg: cannot be read .* rerun its preprocess shard"):
        write()
