"""Expressions: words, emoji and blendshapes."""
