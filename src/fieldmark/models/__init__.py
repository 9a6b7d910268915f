"""A backbone by name (timm), a neck, a head by task."""
