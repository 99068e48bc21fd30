"""Baseline methods, one file each; `benchmark.registry` finds them by their `@method` line.

Imports `benchmark` and `fdrd`. Others refer to a method by its registered name.
"""
