"""Protocols of other services, answered so that their clients can be pointed here: one file each."""
