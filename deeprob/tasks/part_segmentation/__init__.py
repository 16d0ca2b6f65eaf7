"""Part segmentation: a part for every point of a cloud."""
