"""Tests of the local server, started as a user starts it."""
