"""Evaluation: encoding, ranking, metrics, galleries, hard negatives, significance tests.

May import `models`, the registry, and the types of results. Others use `encode_split`, `rank_split` and `measure`.
"""
