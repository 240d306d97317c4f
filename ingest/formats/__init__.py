"""The formats of payloads: from bytes to the document that JSON would have; pure."""
