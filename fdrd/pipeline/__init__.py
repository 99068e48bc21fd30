"""Pipeline: the steps of a build, for a whole source or for parts of it.

Entry points are `builder.build`, `builder.merge` and `part_builder.build_part`. Imports every room below it.
"""
