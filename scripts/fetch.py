"""python scripts/fetch.py ...: the same as `deeprob fetch ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["fetch", *sys.argv[1:]]))
