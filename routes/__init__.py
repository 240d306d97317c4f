"""One blueprint per resource; a handler turns validated arguments into one call and a dict."""
