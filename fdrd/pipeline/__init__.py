"""Pipeline: the steps of a build.

The entry point is `builder.build`. Imports every room below it.
"""
