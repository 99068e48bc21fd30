"""Captioners: whoever answers a question about a picture, one file each. A new one is one new file.

Importing the package registers them all; what a captioner needs is imported when it is made.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
