"""Whether the estimators of the bias room can be believed: synthetic responses with known truth, and coverage."""
