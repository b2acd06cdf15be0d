"""Background work, over the store in memory."""
