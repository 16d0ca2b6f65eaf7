"""python scripts/card.py ...: the same as `deeprob card ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["card", *sys.argv[1:]]))
