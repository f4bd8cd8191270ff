"""Other systems: rows of their intermediate tables, read through ODBC, become frames of the pseudo-protocol `amr`."""
