"""The pages on kinds, docs/kinds/*.md, made from what each kind declares. `make docs` writes them."""
