"""Hugging Face Hub: push datasets and methods, read raw sources. Imports `pipeline` and the rooms below it."""
