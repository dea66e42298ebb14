"""Tests of the kind `process`."""
