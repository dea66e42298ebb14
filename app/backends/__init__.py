"""The servers that an operator configured: which there are, and how one is reached without being led elsewhere."""
