"""python scripts/gradcheck.py ...: the same as `deeprob gradcheck ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["gradcheck", *sys.argv[1:]]))
