"""The volume list and the label table: accounting, order, and what is missing."""

import pandas as pd
import pytest

from braing3n.cli import main
from braing3n.config import DiffusionSettings, ManifestSettings
from braing3n.core.contracts import read_table, write_table
from braing3n.core.errors import ContractError
from braing3n.diffusion.conditions import build_vocabularies
from braing3n.ingest.contracts import LEFT_OUT, RECORDS
from braing3n.inventory.contracts import INVENTORY
from braing3n.manifest.contracts import EXCLUSIONS, FLOW, LABELS, NEAR_DUPLICATES, QUALITY
from braing3n.manifest.tables import (
    ListOutputs,
    build_ingest_flow,
    build_label_table,
    build_volume_list,
)
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.probe.tasks import PAPER_TASKS
from braing3n.volumes.contracts import VOLUME_LIST, VOLUMES

N_PEOPLE = 40
SETTINGS = ManifestSettings(train=0.6, validation=0.2)


def blank(contract, **values):
    """A row of a contract with every text empty, every count zero and every measure missing."""
    blanks = {str: "", int: 0, float: float("nan")}
    return {name: blanks[kind] for name, (kind, _) in contract.items()} | values


@pytest.fixture
def tables(tmp_path):
    """Two shards of one cohort's inventory and preprocess tables; one scan of each shard is excluded."""
    inventories, tables = [], []
    for shard in (0, 1):
        people = [f"{i:02d}" for i in range(shard, N_PEOPLE, 2)]
        rows = [
            blank(
                INVENTORY,
                cohort="mine",
                subject_id=name,
                modality="T1",
                path=f"raw/{name}",
                raw_space="native",
                source_format="NIfTI",
            )
            | {"person_id": f"mine/{name}", "group_id": f"mine/{name}"}
            for name in people
        ]
        inventories.append(tmp_path / f"shard-{shard:03d}.tsv")
        pd.DataFrame(rows).to_csv(inventories[-1], sep="\t", index=False)
        done = [
            blank(PREPROCESS, volume_id=f"mine_sub-{name}_T1", cohort="mine", subject_id=name, modality="T1")
            | {"status": "kept", "raw_sha256": name, "native_brain_ml": 1400.0}
            for name in people
        ]
        done[0] |= {"status": "excluded", "reason": "all voxels are zero"}
        tables.append(tmp_path / f"shard-{shard:03d}.parquet")
        write_table(pd.DataFrame(done), tables[-1], PREPROCESS)
    return inventories, tables


def build(tables, folder, review="", settings=SETTINGS):
    names = ("list", "flow", "excluded", "dseg", "quality")
    outputs = ListOutputs(*(folder / f"{name}.parquet" for name in names))
    pairs, decisions = folder / "near_duplicates.parquet", folder / "review.tsv"
    write_table(pd.DataFrame(columns=list(NEAR_DUPLICATES)), pairs, NEAR_DUPLICATES)
    decisions.write_text("volume_id\tdecision\treason\n" + review)
    for path in tables[1]:
        kept = read_table(path, PREPROCESS).query("status == 'kept'")["volume_id"]
        packed = pd.DataFrame([blank(VOLUMES, volume_id=name) for name in kept])
        write_table(packed, folder / "volumes" / path.parent.name / path.name, VOLUMES)
    build_volume_list(*tables, folder / "volumes", pairs, decisions, settings, outputs)
    return outputs


def test_received_is_kept_plus_excluded_with_reasons(tables, tmp_path):
    built = build(tables, tmp_path / "out")
    volumes = read_table(built.volumes, VOLUME_LIST)
    assert len(volumes) == N_PEOPLE - 2
    assert volumes["volume_id"].is_monotonic_increasing
    assert dict(zip(volumes["subject_id"], volumes["shard"], strict=True))["03"] == 1
    total, reason, after = read_table(built.flow, FLOW).to_dict("records")
    assert (total["received"], total["kept"], total["excluded"]) == (N_PEOPLE, N_PEOPLE - 2, 2)
    assert (reason["reason"], reason["excluded"]) == ("all voxels are zero", 2)
    assert (after["stage"], after["received"], after["kept"]) == ("manifest", N_PEOPLE - 2, N_PEOPLE - 2)
    assert len(read_table(built.excluded, EXCLUSIONS)) == 2


def test_what_the_review_drops_is_accounted_for_and_moves_nobody(tables, tmp_path):
    before = read_table(build(tables, tmp_path / "before").volumes, VOLUME_LIST)
    names = before["volume_id"].tolist()
    review = f"{names[4]}\tdrop\tmotion\n{names[5]}\tdrop\tmotion\n{names[6]}\tkeep\tfine\n"
    built = build(tables, tmp_path / "after", review)
    after = read_table(built.volumes, VOLUME_LIST)
    gone = {names[4], names[5]}
    pd.testing.assert_frame_equal(after, before[~before["volume_id"].isin(gone)].reset_index(drop=True))
    flow = read_table(built.flow, FLOW)
    total, reason = flow[flow["stage"] == "manifest"].to_dict("records")
    assert (total["received"], total["kept"], total["excluded"]) == (38, 36, 2)
    assert (reason["reason"], reason["excluded"]) == ("dropped in review: motion", 2)
    excluded = read_table(built.excluded, EXCLUSIONS).set_index("volume_id")
    assert set(excluded.index) >= gone
    assert len(excluded) == 4
    quality = read_table(built.quality, QUALITY).set_index("volume_id")
    assert len(quality) == 38
    assert quality.loc[names[4:7], "decision"].tolist() == ["drop", "drop", "keep"]
    assert set(quality.index[quality["status"] == "excluded"]) == gone


def test_outliers_leave_the_list_only_where_asked_and_a_kept_one_stays(tables, tmp_path):
    table = read_table(tables[1][0], PREPROCESS)
    table["noise"] = [0.03 + 0.001 * (k % 4) for k in range(len(table))]
    table.loc[[5, 6], "noise"] = 0.2
    write_table(table, tables[1][0], PREPROCESS)
    bad = table.loc[[5, 6], "volume_id"].tolist()
    limited = SETTINGS.model_copy(update={"max_outlier_score": 6.0})
    for folder, settings, review, lost in (
        ("off", SETTINGS, "", set()),
        ("on", limited, "", set(bad)),
        ("kept", limited, f"{bad[0]}\tkeep\tseen\n", {bad[1]}),
    ):
        built = build(tables, tmp_path / folder, review, settings)
        listed = set(read_table(built.volumes, VOLUME_LIST)["volume_id"])
        assert set(bad) - listed == lost, folder
        assert len(listed) == N_PEOPLE - 2 - len(lost)


def test_a_volume_that_a_shard_lost_is_named(tables, tmp_path):
    table = read_table(tables[1][0], PREPROCESS)
    write_table(table.iloc[1:], tables[1][0], PREPROCESS)
    with pytest.raises(ContractError, match=r"lost, the first is 'mine_sub-00_T1'"):
        build(tables, tmp_path / "out")


def test_labels_follow_the_list_and_a_lost_record_is_named(tables, tmp_path):
    listed = build(tables, tmp_path / "out").volumes
    volumes = read_table(listed, VOLUME_LIST)
    records = pd.DataFrame(
        blank(RECORDS, volume_id=name, modality="T1", age_years=50.0, sex="F", field_strength_t=3.0)
        | {"source_format": "NIfTI", "raw_space": "native"}
        | dict.fromkeys(set(LABELS) - set(RECORDS) - set(volumes.columns), "")
        | dict.fromkeys(("cdr", "mmse", "moca", "education_years", "gds", "updrs3", "scopa"), float("nan"))
        | {"control_decoy": "case", "control_size": str(i)}
        for i, name in enumerate(reversed(volumes["volume_id"].tolist()))
    )
    write_table(records, tmp_path / "records.parquet", RECORDS)
    build_label_table(listed, [tmp_path / "records.parquet"], tmp_path / "labels.parquet")
    labels = read_table(tmp_path / "labels.parquet", LABELS)
    assert list(labels["volume_id"]) == list(volumes["volume_id"])
    assert labels["control_size"].iloc[0] == len(volumes) - 1
    assert set(labels["control_decoy"]) == {"case"}
    write_table(records.iloc[1:], tmp_path / "records.parquet", RECORDS)
    with pytest.raises(ContractError, match="has no record"):
        build_label_table(listed, [tmp_path / "records.parquet"], tmp_path / "labels.parquet")


def test_a_site_is_a_cohorts_site(tmp_path):
    """ADNI's and PPMI's numeric codes, and WashU's two scanners: equal names, six sites in all."""
    sites = [("adni", "002"), ("ppmi", "002"), ("oasis2", "WashU"), ("hcp_ya", "WashU"), ("ixi", "")]
    sites += [("adni", "003"), ("adni", "002"), ("ppmi", "003")]
    known = {"modality": "T1", "sex": "F", "field_strength_t": 3.0, "source_format": "NIfTI"}
    known |= {"raw_space": "native", "split": "train"}
    rows = [
        known
        | {"volume_id": f"v{k}", "cohort": cohort, "site": site, "person_id": f"p{k}", "group_id": f"p{k}"}
        for k, (cohort, site) in enumerate(sites)
    ]
    for contract in (VOLUME_LIST, RECORDS):
        kept = [{key: row[key] for key in row if key in contract} for row in rows]
        frame = pd.DataFrame(blank(contract, **row) for row in kept)
        write_table(frame, tmp_path / f"{contract.name}.parquet", contract)
    build_label_table(
        tmp_path / "volume_list.parquet", [tmp_path / "records.parquet"], tmp_path / "labels.parquet"
    )
    labels = read_table(tmp_path / "labels.parquet", LABELS)
    named = [f"{cohort}/{site}" if site else "" for cohort, site in sites]
    assert labels["site"].tolist() == named
    (task,) = (task for task in PAPER_TASKS if task.key == "site")
    assert set(task.read_target(labels)) == set(named)
    assert set(build_vocabularies(labels, DiffusionSettings()).site) == set(named) - {""}
    assert len(set(named)) == 7


@pytest.mark.parametrize("reasons", [[], ["a repeat; raw/1 is taken", "a repeat; raw/2 is taken"]])
def test_the_accounting_of_ingest_counts_what_was_left_out(tmp_path, reasons):
    record = blank(RECORDS, volume_id="a", cohort="mine", modality="T1", sex="F", field_strength_t=3.0)
    record |= {"source_format": "NIfTI", "raw_space": "native"}
    write_table(pd.DataFrame([record]), tmp_path / "records.parquet", RECORDS)
    rows = [
        blank(LEFT_OUT, cohort="mine", path=f"raw/{i}", reason=reason) for i, reason in enumerate(reasons)
    ]
    lost = pd.DataFrame(rows, columns=list(LEFT_OUT))
    write_table(lost, tmp_path / "lost.parquet", LEFT_OUT)
    build_ingest_flow([tmp_path / "records.parquet"], [tmp_path / "lost.parquet"], tmp_path / "flow.parquet")
    total, *each = read_table(tmp_path / "flow.parquet", FLOW).to_dict("records")
    assert (total["received"], total["kept"], total["excluded"]) == (1 + len(reasons), 1, len(reasons))
    assert [(row["reason"], row["excluded"]) for row in each] == ([("a repeat", 2)] if reasons else [])


def test_the_command_takes_the_limit_of_outliers_from_its_own_file(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("braing3n.manifest.tables.build_volume_list", lambda *given: asked.append(given))
    monkeypatch.setattr("braing3n.core.accounting.write_provenance", lambda *given: None)
    (tmp_path / "limit.json").write_text("7.5")
    (tmp_path / "manifest.json").write_text('{"seed": 3}')
    arguments = ["manifest", "volume-list", "--results", str(tmp_path), "--shards", "ixi:2", "lab:1"]
    arguments += ["--review", "r"]
    arguments += ["--settings", str(tmp_path / "manifest.json"), "--outliers", str(tmp_path / "limit.json")]
    assert main(arguments) == 0
    ((inventories, tables, *_, options, outputs),) = asked
    shards = [f"{key}/shard-{n}" for key, n in (("ixi", "000"), ("ixi", "001"), ("lab", "000"))]
    assert inventories == [tmp_path / "inventory" / f"{name}.tsv" for name in shards]
    assert tables == [tmp_path / "preprocess" / f"{name}.parquet" for name in shards]
    assert (options.seed, options.max_outlier_score) == (3, 7.5)
    assert outputs.volumes == tmp_path / "manifest" / "volume_list.parquet"


@pytest.mark.parametrize("entry", ["ixi", "ixi:", "../ixi:2", "ixi:-1", "ixi:2:3"])
def test_shards_that_are_none_are_one_sentence(entry, capsys):
    arguments = ["manifest", "quality", "--results", "r", "--shards", entry, "--review", "v", "--out", "o"]
    assert main([*arguments, "--outliers", "x"]) == 2
    assert f"--shards {entry}: give a cohort and its number of shards" in capsys.readouterr().err
