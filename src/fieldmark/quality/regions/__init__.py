"""Where the subject is on a photo: boxes, masks and landmarks, found or learnt from clicks."""
