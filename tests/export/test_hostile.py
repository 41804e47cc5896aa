"""A model folder whose files are well-formed and do not fit together, or claim what no model has."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import braing3n
from braing3n.core.errors import CheckpointError
from braing3n.core.runtime import digest_file
from braing3n.export import files


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(made[0], tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    content = json.loads((folder / files.CONFIG).read_text())
    change(content)
    (folder / files.CONFIG).write_text(json.dumps(content))


def replace(folder, name, data):
    """Other bytes under a name, and `config.json` made to agree."""
    (folder / name).write_bytes(data)
    edit(folder, lambda content: content["sha256"].update({name: digest_file(folder / name)}))


def split(folder, name):
    """A weight file's head and the bytes of its tensors."""
    data = (folder / name).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def join(head, tensors):
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def rewrite(folder, name, change):
    """Change the arrays of a weight file."""
    arrays, head = load_file(folder / name), split(folder, name)[0]
    change(arrays)
    save_file(arrays, folder / "other", head["__metadata__"])
    replace(folder, name, (folder / "other").read_bytes())


def describe_otherwise(folder, name, change):
    """Change the record of a weight file."""
    head, tensors = split(folder, name)
    record = json.loads(head["__metadata__"]["braing3n"])
    change(record)
    head["__metadata__"]["braing3n"] = json.dumps(record)
    replace(folder, name, join(head, tensors))


def overlap_tensors(folder):
    """Sizes that agree with the file, and places that do not."""
    parts = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}
    metadata = split(folder, files.STATISTICS)[0]["__metadata__"]
    replace(folder, files.STATISTICS, join({**parts, "__metadata__": metadata}, bytes(16)))


def claim_a_huge_tensor(folder):
    part = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    replace(folder, files.ENCODER, join({"a": part}, b""))


def claim_a_negative_shape(folder):
    describe_otherwise(folder, files.ENCODER, lambda record: record.update(shape=[-16, 24, 16]))


def claim_more_than_memory(folder):
    """Sizes that a model may have, of 3 PB together."""

    def widen(record):
        record["settings"].update(width=6_000_000, depth=2)

    describe_otherwise(folder, files.ENCODER, widen)


def claim_no_shape(folder):
    describe_otherwise(folder, files.ENCODER, lambda record: record.update(shape="xyz"))


def describe_no_probe(folder):
    describe_otherwise(folder, files.PROBES, lambda record: record.update(probes=["x"]))


def lose_a_weight(folder):
    rewrite(folder, files.ENCODER, lambda arrays: arrays.pop("norm.bias"))


def lose_a_statistic(folder):
    rewrite(folder, files.STATISTICS, lambda arrays: arrays.pop("spread"))


def misshape_a_statistic(folder):
    rewrite(folder, files.STATISTICS, lambda arrays: arrays.update(mean=np.zeros(7)))


def spoil_a_statistic(folder):
    rewrite(folder, files.STATISTICS, lambda arrays: arrays["spread"].fill(np.nan))


def misshape_a_probe(folder):
    rewrite(folder, files.PROBES, lambda arrays: arrays.update({"0.mean": np.zeros(7)}))


def spoil_a_probe(folder):
    rewrite(folder, files.PROBES, lambda arrays: arrays["0.scale"].__setitem__(0, np.inf))


def change_the_shape(folder):
    edit(folder, lambda content: content["volumes"].update(shape=[8, 8, 8]))


def lose_the_population(folder):
    edit(folder, lambda content: content.update(population=[]))


def spoil_the_ages(folder):
    edit(folder, lambda content: content["population"].update(age_years={"min": 20}))


def spoil_a_count(folder):
    edit(folder, lambda content: content["population"].update(sexes={"F": "many"}))


def spoil_a_weight(folder):
    rewrite(folder, files.ENCODER, lambda arrays: arrays["norm.bias"].__setitem__(0, np.nan))


def describe_a_probe_badly(folder):
    describe_otherwise(folder, files.PROBES, lambda record: record["probes"][0].update(value="much"))


def leave_out_a_metric(folder):
    describe_otherwise(folder, files.PROBES, lambda record: record["probes"][0].pop("metric"))


def give_heads_that_do_not_divide(folder):
    describe_otherwise(folder, files.ENCODER, lambda record: record["settings"].update(n_heads=7))


def nest_deeply(folder):
    (folder / files.CONFIG).write_text("[" * 200_000)


def write_a_list(folder):
    (folder / files.CONFIG).write_text("[]")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (overlap_tensors, "statistics.safetensors: not a safetensors file of ours"),
        (claim_a_huge_tensor, "encoder.safetensors: not a safetensors file of ours .its tensors claim"),
        (claim_a_negative_shape, "encoder.safetensors: its record describes no model"),
        (claim_more_than_memory, "encoder.safetensors: does not fit MaskedAutoencoder"),
        (claim_no_shape, "encoder.safetensors: its record"),
        (describe_no_probe, "does not fit together"),
        (lose_a_weight, "encoder.safetensors: does not fit MaskedAutoencoder .missing: norm.bias"),
        (lose_a_statistic, "statistics.safetensors: does not fit the encoder"),
        (misshape_a_statistic, "statistics.safetensors: does not fit the encoder"),
        (spoil_a_statistic, "statistics.safetensors: does not fit the encoder"),
        (misshape_a_probe, "probes.safetensors: does not fit the encoder"),
        (spoil_a_probe, "probes.safetensors: does not fit the encoder"),
        (change_the_shape, "config.json: does not fit the encoder"),
        (lose_the_population, "config.json: does not fit the encoder"),
        (spoil_the_ages, "config.json: does not fit the encoder"),
        (spoil_a_count, "config.json: does not fit the encoder"),
        (spoil_a_weight, "encoder.safetensors: norm.bias holds numbers that are not finite"),
        (describe_a_probe_badly, "probes.safetensors: does not fit the encoder"),
        (leave_out_a_metric, "probes.safetensors: does not fit the encoder"),
        (give_heads_that_do_not_divide, "encoder.safetensors: .*7 heads"),
        (nest_deeply, "config.json: is no configuration of a model"),
        (write_a_list, "config.json: is no configuration of a model"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fit_is_one_sentence(folder, damage, sentence):
    braing3n.from_pretrained(folder, "cpu")
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        braing3n.from_pretrained(folder, "cpu")
    assert "\n" not in str(caught.value)


def test_no_tensor_is_read_before_all_digests_agree(folder, monkeypatch):
    """The last file is the wrong one, and the first is not opened."""
    path = folder / files.STATISTICS
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    for reader in ("load_model", "read_weights"):
        monkeypatch.setattr(f"braing3n.export.pretrained.{reader}", lambda *_: pytest.fail("read too early"))
    with pytest.raises(CheckpointError, match=r"statistics\.safetensors: is not the file"):
        braing3n.from_pretrained(folder, "cpu")


def test_a_generator_of_other_tokens_is_one_sentence(folder, made):
    from braing3n.config import DiffusionSettings
    from braing3n.diffusion.model import DiT
    from braing3n.nets.weights import load_model, write_weights

    words = load_model(DiT, folder / files.DIT).vocabularies
    other = DiT(DiffusionSettings(depth=1, width=24, n_heads=2), words, 5, (2, 3, 2))
    write_weights(folder / "other.safetensors", other.state_dict(), "DiT", other.describe())
    replace(folder, files.DIT, (folder / "other.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"dit\.safetensors: does not fit the encoder"):
        braing3n.from_pretrained(folder, "cpu")


@pytest.mark.parametrize("name", ["./nomodel", "../nomodel"])
def test_a_mistyped_path_is_one_sentence(name):
    with pytest.raises(CheckpointError, match="there is no such folder"):
        files.find_folder(name)


@pytest.mark.parametrize("name", [files.CONFIG, files.ENCODER])
def test_a_file_that_cannot_be_read_is_one_sentence(folder, name, monkeypatch):
    def refuse(path, *_, **__):
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return "{}" if name == files.CONFIG else digest_file(path)

    if name == files.CONFIG:
        monkeypatch.setattr("pathlib.Path.read_text", refuse)
    else:
        monkeypatch.setattr("braing3n.export.files.digest_file", refuse)
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be read \(Permission denied\)"):
        files.read_config(folder)
