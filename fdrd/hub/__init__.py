"""Hugging Face Hub: push datasets and trained methods, and read datasets as raw sources.

May import `pipeline` and everything below it. Others use `client` (errors, retries), `publisher` (prepare, execute),
`dataset_repository` (push) and `source` (local_source).
"""
