"""Between the database and the rest: dialects, tables, locks, files and errors."""
