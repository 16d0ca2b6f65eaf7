"""Detection: a box, a class and a score for every object."""
