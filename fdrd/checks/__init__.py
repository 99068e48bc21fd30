"""Checks of a built dataset: `validation`, `statistics`, `audits`. Imports `storage` and the rooms below it."""
