"""What several readers share: annotation files, lines, columns, rows, and pairs made of them."""
