"""Rotations, rigid transforms, the pinhole camera and triangle meshes, in numpy."""
