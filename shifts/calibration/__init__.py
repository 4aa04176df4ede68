"""Effects of calibration: what it leaves of its own errors, and the non-uniformity that it corrects."""
