"""The REST API and Socket.IO."""
