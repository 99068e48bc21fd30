"""One reader per raw layout. A new layout is one new module here."""
