"""Where untrusted code runs. Knows nothing of verifiers or HTTP; `base` is what the rest of Assay sees of it."""
