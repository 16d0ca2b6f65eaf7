"""YAML files from outside: what a few lines stand for, and what a run folder's config may look up."""

import pytest
from omegaconf import OmegaConf

from deeprob.config_files import read_values, read_written, read_yaml
from deeprob.errors import InputError
from deeprob.records import TRAINING, read_record
from deeprob.sim.look import read_poses


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_numbers_are_read_as_omegaconf_reads_them(tmp_path):
    path = write(tmp_path, "lr: 1e-3\nblocks: [2, 2]\nname: a b\nlogger: null\n")
    assert read_written(path) == OmegaConf.create(
        {"lr": 0.001, "blocks": [2, 2], "name": "a b", "logger": None}
    )


def test_an_anchor_and_a_merge_key_of_an_experiment_are_taken(tmp_path):
    path = write(tmp_path, "a: &a {lr: 0.1, size: 3}\nb: {<<: *a, lr: 0.2}\n")
    assert read_yaml(path).b == {"lr": 0.2, "size": 3}


LISTS = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))])
MAPPINGS = "\n".join(
    ["a0: &a0 {k: v}"]
    + [f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}" for n in range(1, 30)]
)
MERGED = "\n".join(
    ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 30)]
)


@pytest.mark.parametrize("bomb", [LISTS, MAPPINGS, MERGED], ids=["lists", "mappings", "merge keys"])
def test_aliases_that_multiply_end_in_one_line(tmp_path, bomb):
    with pytest.raises(InputError, match="stand for more than 1000000 values"):
        read_yaml(write(tmp_path, bomb))


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: " + "[" * 5000, "a: {b: [}", "a: 1\n---\nb: 2", "a: !!python/name:os.system"]
)
def test_what_is_no_readable_yaml_is_one_line(tmp_path, text):
    with pytest.raises(InputError, match=r"config\.yaml: not a readable config"):
        read_yaml(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("card: {question: '${oc.env:TOKEN}'}", "card.question"),
        ("data: {root: 'a/${oc.env:TOKEN}/b'}", "data.root"),
        ("model: {freeze: [conv1, [{deep: '${.x}'}]]}", "model.freeze"),
        ("name: '${oc.decode:${oc.env:TOKEN}}'", "name"),
    ],
)
def test_a_run_folder_looks_nothing_up(tmp_path, monkeypatch, text, key):
    monkeypatch.setenv("TOKEN", "secret")
    with pytest.raises(InputError, match=rf"config\.yaml: {key} is not a plain value") as error:
        read_written(write(tmp_path, text))
    assert "secret" not in str(error.value)


def test_a_list_is_no_config(tmp_path):
    with pytest.raises(InputError, match=r"config\.yaml: not a config"):
        read_written(write(tmp_path, "[1, 2]"))


def test_a_missing_config_names_its_folder(tmp_path):
    with pytest.raises(InputError, match=r"config\.yaml is missing; expected a run folder"):
        read_written(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1e-3\nb: 012\nc: 2020-01-01\nd: yes\ne: !!str 5\nf: [1, {g: null}]\n",
        "a: {b: 1}\na: {b: 2}\n",
        "a: 'x'\n'a': 'y'\n",
        "a: '&amp; no anchor'\nb: .5\n",
        "",
        "just text",
    ],
)
def test_the_fast_reader_reads_as_omegaconf_does(tmp_path, text):
    path = write(tmp_path, text)
    try:
        expected = OmegaConf.load(path)
    except Exception:
        with pytest.raises(InputError):
            read_yaml(path)
    else:
        assert read_yaml(path) == expected


@pytest.mark.parametrize("text", ["a: " + "[" * 200_000, "- " * 200_000, "? " * 200_000, "a: {" * 200_000])
def test_nesting_without_end_is_one_line(tmp_path, text):
    with pytest.raises(InputError, match="not a readable config"):
        read_yaml(write(tmp_path, text))


def test_files_edited_on_windows_are_read(tmp_path):
    """A byte order mark in front, and two characters at the end of each line."""
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfdata:\r\n  size: 3\r\n  name: b\xc3\xb6wl\r\n")
    assert read_yaml(tmp_path / "config.yaml") == {"data": {"size": 3, "name": "böwl"}}
    assert read_values(tmp_path / "config.yaml") == {"data": {"size": 3, "name": "böwl"}}
    (tmp_path / "training.json").write_bytes(b'\xef\xbb\xbf{\r\n  "epochs": 3\r\n}\r\n')
    assert read_record(tmp_path / "training.json", TRAINING) == {"epochs": 3}
    (tmp_path / "poses.json").write_bytes(b"\xef\xbb\xbf[[[1,0,0,0],[0,1,0,0],[0,0,1,0],\r\n[0,0,0,1]]]")
    assert read_poses(tmp_path / "poses.json").shape == (1, 4, 4)
