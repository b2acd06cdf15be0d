"""The store: one contract for every implementation, and the rules of consistency over the one in memory."""
