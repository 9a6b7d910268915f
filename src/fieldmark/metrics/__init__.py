"""How good: MAP@K with strangers, mean F-beta, error per question, calibration, open-set."""
