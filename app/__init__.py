"""The Assay service: everything that talks to the outside."""
