"""Simulated boards and the demo."""
