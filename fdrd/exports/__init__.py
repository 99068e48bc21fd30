"""A dataset in the form of another tool: one file for each form."""
