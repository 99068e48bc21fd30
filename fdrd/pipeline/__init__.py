"""Pipeline: the steps of a build, in one process, in several, in parts, or on a Ray cluster.

`builder.build` is the entry point. Imports every room below it.
"""
