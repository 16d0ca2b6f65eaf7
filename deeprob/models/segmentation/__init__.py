"""Segmenters: a score of every class at every pixel."""
