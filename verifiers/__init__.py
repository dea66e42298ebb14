"""The verifiers: what a verdict is (`base`), and one module per kind."""
