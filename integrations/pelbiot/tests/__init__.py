"""Tests of the endpoints and events for PELBIOT."""
