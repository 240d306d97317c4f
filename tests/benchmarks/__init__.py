"""Measurements: that they measure what they claim to."""
