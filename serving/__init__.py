"""Serves the application: gunicorn's threaded worker, with limits on each connection."""
