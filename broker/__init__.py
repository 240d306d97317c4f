"""What speaks MQTT and knows neither database nor streams."""
