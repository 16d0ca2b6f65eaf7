import pickle

from deeprob.errors import InputError


def test_the_line_names_place_expectation_and_remedy():
    error = InputError("no such file", where="a.txt", expected="a list of names", fix="write one")
    assert str(error) == "a.txt: no such file; expected a list of names; write one"


def test_a_message_from_below_becomes_one_line():
    assert str(InputError("first\n  second\n")) == "first second"


def test_it_crosses_processes_unchanged():
    error = InputError("bad value", where="x.yaml", expected="a number")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
