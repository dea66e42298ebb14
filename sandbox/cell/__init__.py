"""What runs inside a cell: standard library only, Python 3.9 or later, and nothing of the service."""
