"""The one place that wires: what a process of AutoForge consists of."""
