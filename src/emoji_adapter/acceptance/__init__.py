"""Scores on real checkpoints: a benchmark of the user's own photographs, and judges that are real networks."""
