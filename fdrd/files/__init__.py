"""Files: atomic writes, safe opening inside a root, cache locations, long lists of structs.

Ground floor: imports `errors` only. Every room uses it.
"""
