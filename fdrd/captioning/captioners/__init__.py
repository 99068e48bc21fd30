"""The built-in captioners, one file each. A new captioner is one new file.

Importing the package registers all of them. They may import `fdrd.captioning.interface` and what it needs; models and
HTTP clients only when used.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
