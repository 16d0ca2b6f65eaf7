"""python scripts/evaluate.py ...: the same as `deeprob evaluate ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
