"""What stands between the database and the rest: its kinds, its locks, its files, and what its errors mean."""
