"""Storage: shards, manifest, list of rejected records, registration, atomic publishing, resume.

Imports `curation`, `negatives` and the rooms below; must not know the pipeline. Others use `shard_file`,
`manifest` and `publish`.
"""
