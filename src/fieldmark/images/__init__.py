"""Image reading, cropping, data augmentation, preprocessing and test-time augmentation."""
