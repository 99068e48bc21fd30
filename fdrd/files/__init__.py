"""Files: atomic writes, safe paths, long lists of structs. Ground floor: imports `errors` and `columns` only."""
