"""python scripts/train.py ...: the same as `deeprob train ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
