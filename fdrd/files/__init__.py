"""Files: atomic writes, safe opening inside a root, cache locations.

Ground floor: imports the shared types alone.
"""
