"""The stages of plans, one file each: common ones, those for individuals, those for labels."""
