"""The rules of the code and of the documentation."""
