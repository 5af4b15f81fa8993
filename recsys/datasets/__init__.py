"""Ratings and catalogues: reading them from files, making a sample, splitting them for evaluation."""
