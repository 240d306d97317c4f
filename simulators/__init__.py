"""Programs that act as devices: they know the declarations, and nothing of how messages are read
back.
"""
