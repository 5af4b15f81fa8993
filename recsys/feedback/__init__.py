"""Ratings that came in after the files were made: kept on disk, and held in memory for the very next answer."""
