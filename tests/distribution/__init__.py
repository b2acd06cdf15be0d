"""Registries of other makes, as they are, against which this one copies and caches."""
