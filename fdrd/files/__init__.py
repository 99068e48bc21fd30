"""Files: atomic writes, safe opening inside a root, cache locations.

Ground floor: imports `errors` only. Every room uses it.
"""
