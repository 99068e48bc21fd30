"""Storage: shards, manifest, list of rejected records, registration, atomic publishing, resume.

Imports `curation` and what lies below it; knows nothing of the pipeline.
"""
