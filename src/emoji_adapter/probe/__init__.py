"""Which cross-attention layers carry the expression, and which drag style along."""
