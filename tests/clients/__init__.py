"""The real clients matrix: unmodified clients against a running registry (`make clients`)."""
