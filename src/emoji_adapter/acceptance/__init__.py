"""What scores on real checkpoints need: a benchmark of the user's own photographs, and real judges."""
