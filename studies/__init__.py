"""Studies: a question, its ingredients and its headline answer, one file each."""
