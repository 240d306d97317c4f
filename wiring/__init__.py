"""Wiring: builds the parts of a process of AutoForge and connects them."""
