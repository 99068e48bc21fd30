"""Images: checking, decoding, containers (tar and Parquet), perceptual features, near-duplicate search.

Ground floor: imports `files` and the shared types. Others use `check`, `pixels` and `containers`.
"""
