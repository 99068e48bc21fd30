"""Training: the loop, losses, prompt learners, adapters, resumable state, training negatives.

Imports `models`, `evaluation` (for validation) and the registry.
"""
