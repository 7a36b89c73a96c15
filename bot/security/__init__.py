"""Who may come in, what they may do, and what the logs must not say."""
