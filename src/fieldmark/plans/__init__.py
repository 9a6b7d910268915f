"""Recipes: functions that return a complete plan, one module per contest, and their settings."""
