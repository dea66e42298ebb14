"""Tests of the servers that an operator configures."""
