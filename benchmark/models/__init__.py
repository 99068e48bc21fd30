"""Models: backbones, prompts as data, frozen features, chunks, processes, conversion.

Imports `fdrd` alone.
"""
