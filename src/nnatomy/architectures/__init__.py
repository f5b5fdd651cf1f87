"""The rooms, by family: one folder for each architecture."""
