"""Experiments as files: many runs from one TOML file, tuned on validation, resumable, in one results folder.

Calls `benchmark.runner`; others use `run_experiment`, `read_experiment` and `Experiment`, which `benchmark` exports.
"""
