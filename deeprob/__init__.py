"""Robot perception training with every gradient written by hand. README.md lists the rooms."""

__version__ = "0.1.0"
