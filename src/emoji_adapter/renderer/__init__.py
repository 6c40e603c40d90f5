"""Renderer: drawn portraits from numbers, batched, with known truth."""
