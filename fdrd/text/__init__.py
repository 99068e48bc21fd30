"""Text of captions and names: normalization, attributes, mentions, grammar, token counts, Markdown escaping.

Ground floor: imports the shared types alone.
"""
