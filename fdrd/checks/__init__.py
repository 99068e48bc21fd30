"""Checks of a built dataset: `validation`, `statistics`, and the audit of captions and negatives (`audits`).

Imports `storage` and the rooms below it. Others use `validate`, `stats`, `audit`, and the modules of the audit.
"""
