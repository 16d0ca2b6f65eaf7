"""python scripts/export.py ...: the same as `deeprob export ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
