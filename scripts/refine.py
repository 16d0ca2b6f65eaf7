"""python scripts/refine.py ...: the same as `deeprob refine ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["refine", *sys.argv[1:]]))
