"""python scripts/ablate.py ...: the same as `deeprob ablate ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["ablate", *sys.argv[1:]]))
