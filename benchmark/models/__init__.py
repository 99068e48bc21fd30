"""Models: backbones with prompts, cached features, chunked and multi-process encoding, conversion.

Imports `fdrd` only. Others use `load_backbone`, `Backbone`, `Features`, `Prompts` and `Images`.
"""
