"""Serves the application: gunicorn's threaded worker, and limits on what a connection may cost."""
