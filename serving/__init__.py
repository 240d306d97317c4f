"""How the application is served: gunicorn's threaded worker, with a limit on what a connection may cost."""
