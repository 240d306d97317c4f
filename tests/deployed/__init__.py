"""The whole system as it is deployed: its processes, brokers and faults."""
