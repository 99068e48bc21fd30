"""Evaluation: encoding, ranking, metrics, galleries, hard negatives, paired tests.

Imports `models` and the registry.
"""
