"""The micro-world: drawn people, and every model of the method trained on them."""
