"""Tests of the endpoints for FlexoTwin."""
