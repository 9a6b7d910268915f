"""Find the subject on photos: boxes, masks and landmarks, by fixed methods or trained on clicks."""
