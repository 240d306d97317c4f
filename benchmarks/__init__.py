"""Benchmarks: what the backend must reach, measured side by side in one run (`make bench`)."""
