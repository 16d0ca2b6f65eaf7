"""python scripts/predict.py ...: the same as `deeprob predict ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
