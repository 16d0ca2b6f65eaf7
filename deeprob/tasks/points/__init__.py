"""Classification of point clouds."""
