"""python scripts/benchmark.py ...: the same as `deeprob benchmark ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
