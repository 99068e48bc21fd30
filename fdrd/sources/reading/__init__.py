"""What readers share: folders, names, lines, columns, rows, and the pairs that these give.

May import `fdrd.files`, `fdrd.text` and `fdrd.record`. Only `fdrd.sources` uses it.
"""
