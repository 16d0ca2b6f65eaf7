"""A renderer that can be differentiated: motions, projection, triangles to pixels, and smooth silhouettes."""
