"""A trained run outside the training pipeline: prediction on pictures, videos and bags, and export."""
