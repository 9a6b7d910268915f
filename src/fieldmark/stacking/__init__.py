"""The second level: tables of image x label, judged by boosted trees; neighbours that lend their labels."""
