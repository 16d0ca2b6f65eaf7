"""Detectors: networks that find boxes of classes in an image."""
