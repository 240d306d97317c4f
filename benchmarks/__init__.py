"""Benchmarks: measure the required figures side by side in one run (`make bench`)."""
