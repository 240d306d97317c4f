"""What one process alone may do: the lease, and the jobs that run under it."""
