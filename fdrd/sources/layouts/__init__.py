"""One reader per raw layout; a new layout is one new module here (see `fdrd.sources.Reader`)."""
