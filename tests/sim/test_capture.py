import os
import subprocess
import sys

from deeprob.sim.capture import captured


def test_what_c_code_prints_is_kept_from_the_terminal(capfd):
    with captured() as chatter:
        os.write(1, b"to stdout\n")
        os.write(2, b"to stderr\n")
    os.write(1, b"after\n")
    assert chatter.text == "to stdout\nto stderr"
    assert capfd.readouterr() == ("after\n", "")


def test_importing_pybullet_and_settling_a_scene_print_nothing():
    script = (
        "from deeprob.sim.settings import *; from deeprob.sim.generator import Generator;"
        "Generator(SimSettings(objects=ObjectSettings(names=['domino']))).scene('train', 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_root()
    )
    assert (done.stdout, done.stderr) == ("", "")


def _root():
    import deeprob

    return os.path.dirname(os.path.dirname(deeprob.__file__))


def test_what_c_buffers_is_caught_too():
    script = (
        "import ctypes; from deeprob.sim.capture import captured\n"
        "with captured() as chatter: ctypes.CDLL(None).printf(b'hidden %d', 7)\n"
        "assert chatter.text == 'hidden 7', chatter.text"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_root()
    )
    assert (done.stdout, done.stderr) == ("", "")
