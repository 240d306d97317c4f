"""What speaks MQTT."""
