"""What is wrong before there is a DAG is one sentence and exit status 2."""

import pickle

import pytest
import yaml

from .conftest import snakemake, touch_scans


def write_config(folder, **changes):
    touch_scans(folder / "raw")
    config = {"run": "bad", "cohorts": {"mine": {"kind": "bids", "raw_dir": str(folder / "raw")}}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | changes))
    return path


def test_the_configuration_itself_is_fine(tmp_path):
    config = write_config(tmp_path)
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr


def test_weights_of_others_are_inputs_where_they_are_there_and_stop_nothing_where_not(tmp_path):
    weights = {"brainiac": str(tmp_path / "here.ckpt"), "medicalnet": str(tmp_path / "absent.pth")}
    (tmp_path / "here.ckpt").touch()
    encoders = ["mae", "histogram", *weights, "braindino"]
    config = write_config(tmp_path, latents={"encoders": encoders, "foreign": {"weights": weights}})
    done = snakemake(tmp_path, "probe", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr
    jobs = (done.stdout + done.stderr).split("\nrule extract_features:")[1:]
    inputs = {job.split("features_")[1].split(".npz")[0]: job.split("output:")[0] for job in jobs}
    assert set(inputs) == set(encoders) - {"mae"}
    assert {name for name, text in inputs.items() if "here.ckpt" in text} == {"brainiac"}
    foreign = {name for name, text in inputs.items() if "latents.foreign.json" in text}
    assert foreign == {*weights, "braindino"}


def test_wildcards_in_a_path_are_part_of_the_path(tmp_path):
    folder = tmp_path / "{shard} and {cohort}"
    folder.mkdir()
    given = {
        "probe": {"columns": {"sex": "classification"}},
        "resources": {"paths": {"sri24": "{shard}/x.whl"}},
    }
    config = write_config(folder, **given)
    (folder / "raw" / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\n")
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr
    assert "ingest_mine" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"preprocess": {"brain_extracton": "none"}}, "did you mean 'brain_extraction'?"),
        (
            {"cohorts": {"mine": {"kind": "bids", "raw_dir": "no/such/folder"}}},
            "'no/such/folder' does not exist",
        ),
        ({"cohorts": {"mine": {"kind": "bidz", "raw_dir": "x"}}}, "did you mean 'bids'?"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_exit_2(tmp_path, changes, expected):
    done = snakemake(tmp_path, "all", "--dry-run", config=write_config(tmp_path, **changes))
    assert done.returncode == 2, done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("braing3n: ")]
    assert len(sentences) == 1
    assert expected in sentences[0]
    assert "Traceback" not in done.stderr


def test_a_key_that_stands_twice_is_one_sentence(tmp_path):
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "volumes: {spacing_mm: 2.0}\nvolumes: {spacing_mm: 4.0}\n")
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 2, done.stderr
    assert "'volumes' stands twice" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mine_sub-01_T2\tdrop\tmoved\n", "line 2: 'mine_sub-01_T2' is no volume_id of this run"),
        ("mine_sub-01_T1\tremove\tmoved\n", "line 2: 'remove' is no decision about mine_sub-01_T1"),
    ],
)
def test_a_mistake_in_the_review_is_one_sentence_before_the_dag(tmp_path, line, expected):
    review = tmp_path / "review.tsv"
    config = write_config(tmp_path, manifest={"review": str(review)})
    review.write_text("volume_id\tdecision\treason\n" + line)
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 2, done.stderr
    assert f"braing3n: {review}, {expected}" in done.stderr
    assert "Traceback" not in done.stderr


def test_participants_without_an_id_column_stop_before_the_dag(tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "raw" / "participants.tsv").write_text("name\tage\nsub-01\t20\n")
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 2
    assert "no column 'participant_id'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("raw", [".", "results", "results/bad", "results/bad/inventory", "logs/bad/raw"])
def test_raw_scans_among_what_a_run_writes_stop_before_anything_is_written(tmp_path, raw):
    touch_scans(tmp_path / raw)
    config = tmp_path / "elsewhere.yaml"
    config.write_text(yaml.safe_dump({"run": "bad", "cohorts": {"mine": {"kind": "bids", "raw_dir": raw}}}))
    before = sorted(tmp_path.rglob("*"))
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 2, done.stderr
    assert f"cohorts.mine.raw_dir: '{raw}' overlaps with" in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if ".snakemake" not in path.parts] == before


def test_results_in_the_derivatives_of_a_dataset_are_fine(tmp_path):
    touch_scans(tmp_path)
    folder = tmp_path / "derivatives" / "braing3n"
    folder.mkdir(parents=True)
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump({"run": "bad", "cohorts": {"mine": {"kind": "bids", "raw_dir": "../.."}}})
    )
    done = snakemake(folder, "all", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr


RUNS = {"run": "bad", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}}}
HOSTILE = {
    "a YAML tag": "run: !!python/object/apply:os.system ['touch ran']\n",
    "a kind outside cohorts/": RUNS | {"cohorts": {"mine": {"kind": "../../evil", "raw_dir": "raw"}}},
    "a kind beside the configuration": RUNS | {"cohorts": {"evil": {"raw_dir": "raw"}}},
    "a run that leaves results/": RUNS | {"run": "../../outside"},
    "a run that is a command": RUNS | {"run": "$(touch ran)"},
    "a cohort that is a command": RUNS | {"cohorts": {"mine; touch ran": {"kind": "bids", "raw_dir": "raw"}}},
    "somebody's file as a review": RUNS | {"manifest": {"review": "thesis.txt"}},
    "weights that are a pickle": RUNS | {"pretrain": {"weights": "evil.pkl"}},
}


class Evil:
    def __reduce__(self):
        return (open, ("ran", "w"))


@pytest.fixture
def hostile_folder(tmp_path):
    """A working folder with scans, a canary file, and canary programs that leave a file `ran`."""
    touch_scans(tmp_path / "raw")
    (tmp_path / "thesis.txt").write_text("three years of work\n")
    for name in ("evil.py", "raw/evil.py", "cohorts/evil.py", "pandas.py", "yaml.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    return tmp_path


def list_canaries(folder):
    kept = [folder / "thesis.txt", *folder.rglob("*.py"), *(folder / "raw").rglob("*")]
    return {path: path.read_bytes() for path in kept if path.is_file()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_runs_nothing_and_loses_nothing(hostile_folder, name):
    config = hostile_folder / "config.yaml"
    content = HOSTILE[name]
    config.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    before = list_canaries(hostile_folder)
    done = snakemake(hostile_folder, "all", "--dry-run", config=config)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert not list(hostile_folder.parent.rglob("ran"))
    assert not (hostile_folder.parent / "outside").exists()
    assert list_canaries(hostile_folder) == before


def test_a_raw_folder_whose_name_is_a_command_is_only_a_name(hostile_folder):
    folder = hostile_folder / "$(touch ran); touch ran #'\""
    (hostile_folder / "raw").rename(folder)
    config = hostile_folder / "config.yaml"
    config.write_text(yaml.safe_dump(RUNS | {"cohorts": {"mine": {"kind": "bids", "raw_dir": folder.name}}}))
    done = snakemake(hostile_folder, "ingest", config=config)
    assert done.returncode == 0, done.stderr
    assert not list(hostile_folder.rglob("ran"))
    assert (hostile_folder / "results" / "bad" / "ingest" / "mine.parquet").exists()
