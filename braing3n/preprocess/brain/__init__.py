"""Shading and brain extraction."""
