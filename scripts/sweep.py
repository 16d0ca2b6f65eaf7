"""python scripts/sweep.py ...: the same as `deeprob sweep ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
