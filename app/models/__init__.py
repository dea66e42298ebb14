"""Reward models that Assay serves itself: each in a process of its own, so that a load or a crash stops nothing."""
