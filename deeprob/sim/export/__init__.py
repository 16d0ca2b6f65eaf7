"""Data sets on disk, in the formats that real data comes in."""
