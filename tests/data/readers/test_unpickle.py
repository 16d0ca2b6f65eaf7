import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprob.data.readers.unpickle import read_pickle
from deeprob.errors import InputError

ARRAYS = (
    np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(4, dtype=">i8"),
    np.array(["mug", "böwl"]),
    np.array([b"mug", b"a"]),
    np.array([True, False]),
    np.empty((0, 3)),
    np.array(2.5),
)


def load(tmp_path: Path, content: bytes) -> Any:
    (tmp_path / "a.pkl").write_bytes(content)
    return read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    found = load(tmp_path, pickle.dumps({"data": array}, protocol=protocol))["data"]
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.flags.owndata or found.base.flags.owndata) == (array.dtype, True)


@pytest.mark.parametrize("protocol", range(5))
def test_containers_and_numbers_come_back(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, 2.5, (None, "x")], ("b", 1): {3, 4}, "c": np.float32(0.5), "d": np.int64(7)}
    assert load(tmp_path, pickle.dumps(value, protocol=protocol)) == value


def test_what_is_shared_stays_shared_and_may_hold_itself(tmp_path: Path) -> None:
    shared: list[Any] = [np.arange(3)]
    shared.append(shared)
    found = load(tmp_path, pickle.dumps([shared, shared]))
    assert found[0] is found[1] is found[0][1]


def array_of(dtype: bytes, shape: bytes, content: bytes) -> bytes:
    """A pickle (protocol 2) of one array; dtype: opcodes that leave its type on the stack."""
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    text = b"T" + len(content).to_bytes(4, "little") + content
    return b"\x80\x02" + made + b"(K\x01" + shape + dtype + b"\x89" + text + b"tb."


def dtype(text: bytes, state: bytes = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb") -> bytes:
    return b"cnumpy\ndtype\nU" + bytes([len(text)]) + text + b"K\x00K\x01\x87R" + state


def test_the_pickles_of_these_tests_are_whole(tmp_path: Path) -> None:
    assert load(tmp_path, array_of(dtype(b"u2"), b"K\x02\x85", b"\1\0\2\0")).tolist() == [1, 2]


LARGE_SIZE = b"(K\x03U\x01|NNNJ\x00\x00\x10\x00K\x01K\x00tb"  # elements of a megabyte
RECORD = b"(K\x03U\x01|NU\x01a\x85}U\x01aK\x01sJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array_of(dtype(b"S1", LARGE_SIZE), b"K\x04\x85", b"abcd"), "elements of 1048576 bytes"),
        (array_of(dtype(b"u1", LARGE_SIZE), b"K\x04\x85", b"abcd"), "elements of 1048576 bytes"),
        (array_of(dtype(b"u1", RECORD), b"K\x01\x85", b"a"), "asks for an array of records"),
        (array_of(dtype(b"u8"), b"J\x00\x00\x10\x00\x85", b"abcdefgh"), "not those of 1048576 elements"),
        (array_of(dtype(b"u8"), b"J\xff\xff\xff\xff\x85", b""), "shape"),
        (array_of(dtype(b"O"), b"K\x01\x85", b"abcdefgh"), "asks for an array of objects"),
        (array_of(dtype(b"V4"), b"K\x01\x85", b"abcd"), "asks for an array of 'V4'"),
        (array_of(dtype(b"(9,9)u1"), b"K\x01\x85", b"a"), "asks for an array of"),
        (array_of(dtype(b"u1,u1"), b"K\x01\x85", b"ab"), "asks for an array of"),
        (array_of(dtype(b"U1"), b"K\x01\x85", b"\xff\xff\xff\x7f"), "a letter that is none"),
        (array_of(dtype(b"b1"), b"K\x01\x85", b"\x07"), "neither 0 nor 1"),
        (array_of(b"U\x02u1", b"K\x01\x85", b"a"), "a type that is none"),
        (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R.", "broken pickle"),
        (b"cnumpy\nndarray\nK\x09\x85R.", "broken pickle"),
        (b"c_codecs\nencode\n(N}U\x0c__defaults__K\x01\x85stb.", "asks for a function to be changed"),
        (b"c_codecs\nencode\n.", "asks for a function as a value"),
        (b"\x80\x02]r\x00\x00\x00\x7f.", "place 2130706432 of the memo"),
        (b"c__builtin__\nbytes\n(J\x00\x00\x00\x40tR.", "broken pickle"),
        (
            array_of(dtype(b"S0"), b"J\x00\x00\x01\x00\x85", b""),
            "asks for an array of elements without bytes",
        ),
        (array_of(dtype(b"U"), b"J\x00\x00\x01\x00\x85", b""), "asks for an array of elements without bytes"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n" + dtype(b"S0") + b"U\x00\x86R.", "without bytes"),
        (b"\x80\x02})" + 60 * b"2\x86" + b"K\x01s.", "a tuple that holds another one again and again"),
        (b"\x80\x02})" + 60 * b"q\x00h\x00\x86" + b"K\x01s.", "again and again"),
        (b"\x80\x04\x8f()" + 60 * b"2\x86" + b"\x90.", "again and again"),
        (b"\x80\x02}()" + 60 * b"2\x86" + b"K\x01u.", "again and again"),
        (b"\x80\x02cbuiltins\nset\n]()" + 60 * b"2\x86" + b"e\x85R.", "again and again"),
        (b"cos\nsystem\n(U\x04true\x85R.", "asks for os.system"),
        (b"cnumpy\nfromfile\n.", "asks for numpy.fromfile"),
    ],
)
def test_what_a_pickle_may_not_do_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "a.pkl"))


def test_a_type_changed_after_its_array_was_made_changes_nothing(tmp_path: Path) -> None:
    """BUILD on a real dtype that an array uses already would make it read behind its end."""
    made = array_of(dtype(b"u1") + b"q\x00", b"K\x04\x85", b"abcd")[:-1]
    with pytest.raises(InputError, match="elements of 1048576 bytes"):
        load(tmp_path, made + b"q\x01h\x00" + LARGE_SIZE + b"0h\x01.")


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_told_or_harmless(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = pickle.dumps({"data": np.arange(64, dtype=np.uint8), "labels": [1, 2]}, protocol=2)
    places = [position for _, _, position in pickletools.genops(whole) if position]
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[int(rng.choice(places))] = int(rng.integers(256))
        try:
            found = load(tmp_path, bytes(content))
        except InputError:
            continue
        repr(found)
