"""Between the database and the rest: kinds of databases, tables, locks, files, errors."""
