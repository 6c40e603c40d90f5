"""Scores of an adapter by the EmojiDiff protocol; knows benchmarks and judges only by their interfaces."""
