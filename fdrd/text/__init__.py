"""Text of captions and names: normalization, attributes, mentions, grammar, token counts, Markdown.

Imports only the shared types. Every other room may use its modules.
"""
