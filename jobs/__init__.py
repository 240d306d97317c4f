"""The jobs: periodic work that only one process at a time may do, guarded by a lease."""
