"""Read, crop if needed, augment, views for test-time augmentation, preprocessing as one value."""
