"""Download public image sets and the authors' captions, and lay them out for `fdrd build`.

May import `fdrd.files`, `fdrd.sources` and the types below them. Others use `fetching_run`.
`sources.toml` lists the files of each set: it is data, and holds no digest that nobody published.
"""
