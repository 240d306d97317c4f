"""The MQTT layer; it knows neither the database nor streams."""
