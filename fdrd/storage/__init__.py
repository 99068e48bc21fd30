"""Storage: shards, manifest, registration, atomic publishing, resume. Imports `curation` and the rooms below it."""
