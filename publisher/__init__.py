"""The static publisher: configured payloads, each at its own interval, with a last will."""
