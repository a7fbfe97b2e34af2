"""The chapter's networks, the data they learn from, and the hand-derived reference."""
