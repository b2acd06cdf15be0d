"""The `roadstead` command."""
