"""Baseline methods, one file each; importing the package registers them all.

Imports `benchmark` and `fdrd`. Others refer to a method by its registered name.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
