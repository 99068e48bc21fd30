"""Curation: which records are kept and in which split. Imports `images`, `text`, `files` and the shared types."""
