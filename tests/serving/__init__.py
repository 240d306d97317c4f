"""The worker of gunicorn."""
