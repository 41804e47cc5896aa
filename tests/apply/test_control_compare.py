"""`braing3n control compare` on two folders: what was requested against what is read, and bad tables."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.apply.judges.control import BOTH, REAL, REQUESTED, SHUFFLED, SYNTHETIC
from braing3n.cli import main
from braing3n.diffusion.intervals import resample

SHAPE = (16, 20, 16)
AFFINE = np.diag([-8.0, -8.0, 8.0, 1.0])
PLACES = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
BRAIN = (PLACES**2).sum(axis=0) < 0.8
N_REAL, N_GENERATED = 40, 24


def make_brain(seed, age, sex, effect):
    """A head whose front is brighter with age, and whose left side is brighter in men, by an effect."""
    own = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.2)
    signs = (age - 50) / 20 * (PLACES[1] < -0.4) + (1 if sex == "M" else -1) * (PLACES[0] < -0.3)
    return np.where(BRAIN, 100 + 20 * PLACES[2] + 12 * own / own.std() + effect * signs, 0)


def write(folder, table, effect, seed=0, n_visits=1):
    folder.mkdir()
    for k, row in enumerate(table.itertuples()):
        brain = make_brain(seed + k, row.age, row.sex, effect).astype(np.float32)
        for visit in range(n_visits):
            name = f"{row.participant_id}{f'_ses-{visit}' if visit else ''}_T1w.nii.gz"
            again = (brain * (1 + 0.001 * visit * PLACES[2])).astype(np.float32)
            nib.save(nib.Nifti1Image(again, AFFINE), folder / name)


def draw_people(prefix, n, seed):
    rng = np.random.default_rng(seed)
    ids = [f"sub-{prefix}{k:02d}" for k in range(n)]
    sexes = rng.permutation(["F", "M"] * (n // 2))
    return pd.DataFrame({"participant_id": ids, "age": rng.uniform(25, 85, n).round(1), "sex": sexes})


def list_inputs(tmp_path, **others):
    """The command on the files of `judge`, or on others."""
    names = {"generated": "generated", "requested": "wanted.tsv", "real": "real", "labels": "real.tsv"}
    paths = {option: tmp_path / name for option, name in names.items()} | {"out": tmp_path / "out"} | others
    return [
        "control",
        "compare",
        *(word for name, path in paths.items() for word in (f"--{name}", str(path))),
    ]


@pytest.fixture
def judge(tmp_path, capsys):
    """A function: effect in real people and in generated volumes -> (status, table, what was printed)."""

    def run(
        effect=24.0,
        followed=24.0,
        requested=None,
        labels=None,
        words=(),
        n=(N_REAL, N_GENERATED),
        n_visits=1,
        is_one=False,
    ):
        real, wanted = draw_people("r", n[0], 1), draw_people("g", n[1], 2)
        write(tmp_path / "real", real, effect, n_visits=n_visits)
        write(tmp_path / "generated", wanted, followed, seed=1000)
        first, *others = (tmp_path / "generated").iterdir()
        for other in others if is_one else ():
            shutil.copy(first, other)
        (real if labels is None else labels(real)).to_csv(tmp_path / "real.tsv", sep="\t", index=False)
        wanted = wanted if requested is None else requested(wanted)
        wanted.to_csv(tmp_path / "wanted.tsv", sep="\t", index=False)
        status = main([*list_inputs(tmp_path), *words])
        printed = capsys.readouterr()
        path = tmp_path / "out" / "control.parquet"
        table = pd.read_parquet(path).set_index(["condition", "quantity"]) if path.exists() else None
        return status, table, printed.out + printed.err

    return run


@pytest.fixture
def few_draws(monkeypatch):
    """A tenth of the draws, where the tables are tested and not the intervals."""
    monkeypatch.setattr("braing3n.apply.judges.control.N_DRAWS", 100)


def test_requests_that_are_followed_are_read(judge):
    def shuffle(table):  # rows are found by name
        return table.sample(frac=1, random_state=0)

    status, table, said = judge(requested=shuffle, labels=shuffle)
    assert status == 0
    for condition, metric in (("age", "r"), ("sex", "auc")):
        row = table.loc[condition, REQUESTED]
        assert (row.metric, row.verdict, row.n_generated) == (metric, "followed", N_GENERATED)
        assert row.low <= row.value <= row.high
        assert row.value > max(0.9, row.chance_95)
        assert table.loc[(condition, REAL), "value"] > 0.9
        assert table.loc[(condition, SYNTHETIC), "value"] > 0.9
    assert "followed" in said
    assert "research" in said


def test_a_generator_that_ignores_its_requests_is_noticed(judge):
    table = judge(followed=0.0)[1]
    shown = table.xs(REQUESTED, level="quantity")
    assert (shown["verdict"] == "not shown").all()
    assert (shown["p_value"] > 0.05).all()
    assert (shown["value"] < shown["chance_95"]).all()
    assert (table.xs(REAL, level="quantity")["value"] > 0.9).all()  # the probes could have seen it


def test_requests_that_were_swapped_are_read_below_chance_and_harm(judge):
    swap = {"F": "M", "M": "F"}
    table = judge(effect=10.0, requested=lambda wanted: wanted.assign(sex=wanted["sex"].map(swap)))[1]
    assert table.loc[("sex", REQUESTED), "value"] < 0.1
    assert table.loc[("sex", REQUESTED), "verdict"] == "not shown"
    assert table.loc[("sex", BOTH), "gain"] < 0
    assert table.loc[("sex", BOTH), "verdict"] == "harms"
    assert table.loc[("sex", SYNTHETIC), "value"] < 0.1
    gains = table[table["gain"].notna()]
    assert len(gains) == 6
    assert (gains["gain_low"] <= gains["gain"]).all()
    assert (gains["gain"] <= gains["gain_high"]).all()


def test_volumes_that_show_a_weak_effect_clearly_help_and_shuffled_requests_do_not(judge):
    table = judge(effect=5.0, followed=15.0, words=("--conditions", "sex"), n=(60, 160))[1]
    assert set(table.index.get_level_values("condition")) == {"sex"}
    assert table.loc[("sex", BOTH), "verdict"] == "helps"
    assert table.loc[("sex", BOTH), "gain"] > 0.08
    assert table.loc[("sex", SHUFFLED), "verdict"] != "helps"
    assert table.loc[("sex", SHUFFLED), "gain"] < table.loc[("sex", BOTH), "gain"] - 0.1


def test_the_reading_is_that_of_a_plain_probe(judge, tmp_path):
    table = judge(effect=4.0, followed=2.0)[1]

    def load(name):
        """Each volume z-scored in the brain, cut to it, and averaged over cubes of two voxels."""
        rows = []
        for path in sorted((tmp_path / name).iterdir()):
            array = np.asarray(nib.load(path).dataobj, np.float64)
            z = np.where(BRAIN, (array - array[BRAIN].mean()) / array[BRAIN].std(), 0)
            parts = z[1:15, 2:18, 1:15].reshape(7, 2, 8, 2, 7, 2)
            rows.append(parts.mean(axis=(1, 3, 5)).ravel())
        return np.stack(rows)

    real, wanted = (pd.read_csv(tmp_path / f"{name}.tsv", sep="\t") for name in ("real", "wanted"))
    plain = make_pipeline(PCA(N_REAL - 1), StandardScaler(), LogisticRegression(max_iter=1000))
    plain.fit(load("real"), real["sex"])
    expected = roc_auc_score(wanted["sex"] == "M", plain.predict_proba(load("generated"))[:, 1])
    assert table.loc[("sex", REQUESTED), "value"] == pytest.approx(expected, abs=0.01)
    assert 0.55 < expected < 0.98  # a value that could have been another

    x, y, generated = load("real"), real["sex"].to_numpy(), load("generated")
    for quantity, more in ((REAL, 0), (BOTH, N_GENERATED)):
        wins, n_pairs, chances = 0.0, 0, np.zeros(N_REAL)
        deal = StratifiedGroupKFold(5, shuffle=True, random_state=2025).split(x, y, real["participant_id"])
        for train, test in deal:
            known = np.concatenate([x[train], generated[:more]])
            plain = make_pipeline(PCA(min(64, len(known) - 1)), StandardScaler(), LogisticRegression())
            plain.fit(known, np.concatenate([y[train], wanted["sex"][:more]]))
            chances[test] = plain.predict_proba(x[test])[:, 1]
            men, women = (chances[test][y[test] == name] for name in "MF")
            wins += (men[:, None] > women).sum()
            n_pairs += men.size * women.size
        assert table.loc[("sex", quantity), "value"] == pytest.approx(wins / n_pairs, abs=0.01)
        assert abs(wins / n_pairs - roc_auc_score(y == "M", chances)) > 0.02, "pairs are of one fold"


def test_files_may_be_named_and_a_volume_without_a_row_is_reported(judge, tmp_path):
    def name_files(wanted):
        files = wanted["participant_id"] + "_T1w.nii.gz"
        return wanted.assign(file=files).drop(columns="participant_id").iloc[1:]

    status, table, said = judge(requested=name_files)
    assert status == 0
    assert table.loc[("sex", REQUESTED), "n_generated"] == N_GENERATED - 1
    left = pd.read_parquet(tmp_path / "out" / "left_out.parquet")
    assert left["file"].tolist() == ["sub-g00_T1w.nii.gz"]
    assert "sub-g00_T1w.nii.gz: no row of wanted.tsv is of it" in said


def test_a_persons_second_scan_is_never_in_another_fold(judge):
    """Where there is nothing to find, whoever knows a person's other scan would find it."""
    table = judge(effect=0.0, followed=0.0, words=("--conditions", "sex"), n_visits=2)[1].loc["sex"]
    assert (table["n_people"] == N_REAL).all()
    assert (table["n_real"] == 2 * N_REAL).all()
    assert (table.loc[[REAL, SYNTHETIC, BOTH, SHUFFLED], "value"] < 0.8).all()


def test_volumes_that_are_all_one_do_not_follow_their_requests(judge):
    """A generator that has collapsed: the probe of ages reads one number, whose r is undefined."""
    table = judge(words=("--conditions", "age"), n=(N_REAL, 4), is_one=True)[1]
    row = table.loc[("age", REQUESTED)]
    assert np.isnan(row["value"])
    assert row["verdict"] == "n/a"
    assert row["reason"] == "age: the probe reads one number in all generated volumes"


def test_a_class_that_was_never_requested_keeps_its_place(judge):
    """Three classes of real people, two of generated volumes: the probe's columns are found by name."""

    def band(table):
        words = np.where(table["age"] > 65, "old", np.where(table["age"] > 45, "mid", "young"))
        return table.assign(band=words)

    def ask(table):
        return band(table)[lambda t: t["band"] != "mid"]

    table = judge(requested=ask, labels=band, words=("--conditions", "band"), n=(60, 40))[1]
    assert table.loc[("band", SYNTHETIC), "value"] > 0.75  # .5 of mid, nearly 1 of each other


def test_intervals_of_real_people_draw_people_and_not_volumes(judge, few_draws, monkeypatch):
    seen = []

    def note(measure, groups, *rest):
        seen.append(set(map(str, groups)))
        return resample(measure, groups, *rest)

    monkeypatch.setattr("braing3n.apply.judges.control.resample", note)
    judge(words=("--conditions", "sex"))
    people = {f"r{k:02d}" for k in range(N_REAL)}
    assert seen == [set(map(str, range(N_GENERATED)))] + 6 * [people]  # value and gain of three probes


def test_a_request_that_no_real_person_has_is_not_judged(judge):
    table = judge(
        requested=lambda wanted: wanted.assign(sex=wanted["sex"].where(wanted.index > 7, "X")),
        words=("--conditions", "sex"),
    )[1]
    assert table.loc[("sex", REQUESTED), "n_generated"] == N_GENERATED - 8
    assert table.loc[("sex", REQUESTED), "value"] > 0.9


def test_requests_that_no_real_person_has_are_not_judged(judge):
    table = judge(requested=lambda wanted: wanted.assign(sex="X"), words=("--conditions", "sex"))[1]
    row = table.loc[("sex", REQUESTED)]
    assert row.verdict == "n/a"
    assert row.reason == "sex: fewer than two values were requested that real people have"


def test_people_and_requests_without_a_value_are_left_to_the_other_conditions(judge, few_draws):
    """The age of one person is not known, another's is infinite; one request is missing, one is text."""

    def forget(real):
        return real.assign(age=real["age"].where(real.index != 3).where(real.index != 7, np.inf))

    def spoil(wanted):
        return wanted.assign(age=wanted["age"].astype(object).where(wanted.index > 1, "89+"))

    status, table, said = judge(labels=forget, requested=spoil)
    assert status == 0
    for quantity in (REQUESTED, REAL, SYNTHETIC, BOTH):
        assert (
            table.loc[("age", quantity), ["n_real", "n_generated"]] == [N_REAL - 2, N_GENERATED - 2]
        ).all()
        assert (table.loc[("sex", quantity), ["n_real", "n_generated"]] == [N_REAL, N_GENERATED]).all()
        assert table.loc[("age", quantity), "value"] > 0.9
    assert "age: 2 requests that real people cannot confirm: '89+'" in said


def test_a_class_that_is_spelled_otherwise_is_named(judge, few_draws):
    _, table, said = judge(requested=lambda t: t.assign(sex=t["sex"].where(t.index > 2, "female")))
    assert table.loc[("sex", REQUESTED), "n_generated"] == N_GENERATED - 3
    assert "sex: 3 requests that real people cannot confirm: 'female'" in said


def test_numbers_among_text_are_no_classes(judge, few_draws):
    _, table, said = judge(labels=lambda t: t.assign(age=t["age"].astype(object).where(t.index > 0, "89+")))
    assert table.loc[("age", REQUESTED), "verdict"] == "n/a"
    assert "numbers and text, such as '89+', stand in 'age'; write numbers alone" in said
    assert table.loc[("sex", REQUESTED), "verdict"] == "followed"


def test_a_generator_that_always_draws_one_volume_follows_no_request(judge, few_draws, tmp_path, capsys):
    judge(n=(N_REAL, 2))
    first, second = sorted((tmp_path / "generated").iterdir())
    second.write_bytes(first.read_bytes())
    assert main(list_inputs(tmp_path)) == 0
    found = pd.read_parquet(tmp_path / "out" / "control.parquet").set_index(["condition", "quantity"])
    assert found.xs(REQUESTED, level="quantity")["verdict"].to_dict() == {"age": "n/a", "sex": "not shown"}
    assert np.isnan(found.loc[("age", REQUESTED), "value"])
    assert "age: the probe reads one number in all generated volumes" in capsys.readouterr().err


def test_requests_that_are_too_few_to_be_followed_are_named(judge, few_draws):
    """Of three volumes each sixth order of the requests is the right one."""
    _, table, said = judge(requested=lambda t: t[:3], words=("--conditions", "age"))
    assert table.loc[("age", REQUESTED), "value"] > 0.9
    assert table.loc[("age", REQUESTED), "verdict"] == "not shown"
    assert "age: shuffled requests often reach the highest score: too few requests" in said


def test_a_condition_may_have_any_name_and_stand_twice(judge, few_draws):
    names = {"age": "condition", "sex": "fold"}
    table = judge(
        labels=lambda t: t.rename(columns=names).assign(group_id=t["age"]),
        requested=lambda t: t.rename(columns=names).assign(group_id=t["age"]),
        words=("--conditions", "fold", "group_id", "--conditions", "fold"),
    )[1]
    shown = table.xs(REQUESTED, level="quantity")
    assert shown.index.tolist() == ["fold", "group_id"]
    assert (shown["verdict"] == "followed").all()


def test_the_column_that_names_volumes_is_taken(judge, few_draws):
    """A table of a run has ids of volumes, which are not those of these files, beside those of people."""
    status, table, _ = judge(labels=lambda t: t.assign(volume_id="v" + t["participant_id"]))
    assert status == 0
    assert (table["n_real"] == N_REAL).all()


def test_files_of_one_name_need_their_folders(judge, few_draws, tmp_path):
    judge(n=(N_REAL, 4))
    paths = []
    for path in sorted((tmp_path / "generated").iterdir()):
        (tmp_path / "apart" / path.name[:7]).mkdir(parents=True)
        paths.append(path.rename(tmp_path / "apart" / path.name[:7] / "t1.nii.gz"))
    wanted = pd.read_csv(tmp_path / "wanted.tsv", sep="\t")
    files = tmp_path / "files.csv"
    words = list_inputs(tmp_path, generated=tmp_path / "apart", requested=files)
    for names, status in (
        (["t1.nii.gz", "b", "c", "d"], 2),
        ([f"{p.parent.name}/{p.name}" for p in paths], 0),
    ):
        wanted.drop(columns="participant_id").assign(file=names).to_csv(files, index=False)
        assert main(words) == status


def test_a_table_of_the_user_is_not_overwritten(judge, few_draws, tmp_path):
    judge(n=(N_REAL, 4))
    table = tmp_path / "mine" / "control.parquet"
    table.parent.mkdir()
    pd.read_csv(tmp_path / "wanted.tsv", sep="\t").to_parquet(table)
    before = table.read_bytes()
    assert main(list_inputs(tmp_path, requested=table, out=table.parent)) == 2
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"requested": lambda t: t[:0]}, "it has no row below its header"),
        (
            {"requested": lambda t: t.assign(participant_id=t["participant_id"].where(t.index != 4))},
            "row 5 has no participant_id; add it, or remove the row",
        ),
        ({"requested": lambda t: t.drop(columns="participant_id")}, "no column names a volume; add 'file'"),
        ({"labels": lambda t: pd.concat([t, t[:1]])}, "participant_id 'r00' stands in two rows; keep one"),
        ({"requested": lambda t: t.rename(columns={"age": "a", "sex": "s"})}, "share no column"),
        ({"words": ("--conditions", "Sex")}, "'Sex' is not in both tables; both have: age, sex"),
        ({"labels": lambda t: t.assign(participant_id="x" + t["participant_id"])}, "no row is of a volume"),
    ],
    ids=["only a header", "no id", "no key", "twice", "nothing shared", "unknown condition", "other people"],
)
def test_a_table_that_does_not_fit_is_one_sentence(judge, change, sentence):
    status, table, said = judge(**change)
    assert status == 2
    assert table is None
    assert sentence in said
    assert said.startswith("braing3n: ") or "\nbraing3n: " in said
