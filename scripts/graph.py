"""python scripts/graph.py ...: the same as `deeprob graph ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["graph", *sys.argv[1:]]))
