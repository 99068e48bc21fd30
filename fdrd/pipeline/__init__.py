"""Pipeline: the steps of a build, wired by `builder.build`. Imports every room below it."""
