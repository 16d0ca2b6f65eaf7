"""Representation: what the features of a network that was trained without labels are worth."""
