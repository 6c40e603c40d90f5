"""IDI, ID-irrelevant data iteration: the adapter's own pictures, of changed identity, become training data.

EmojiDiff (arXiv 2412.01254), section on IDI; what the paper leaves unstated (filters, thresholds, prompts, the
number of rounds) is our choice.
"""
