"""Tests of the endpoints for Harit Samarth."""
