"""Tests of the kind `reward_model`."""
