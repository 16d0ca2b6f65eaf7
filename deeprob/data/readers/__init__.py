"""Readers of data sets in files, one file a format."""
