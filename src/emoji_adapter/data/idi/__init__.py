"""IDI, ID-irrelevant data iteration: pictures the adapter draws, of changed identity, become training data.

EmojiDiff (arXiv 2412.01254); what the paper leaves unstated (filters, thresholds, prompts, the number of
rounds) is our choice.
"""
