"""python scripts/info.py ...: the same as `deeprob info ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["info", *sys.argv[1:]]))
