"""Pose: where an object is and how it is turned."""
