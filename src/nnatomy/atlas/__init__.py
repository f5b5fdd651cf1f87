"""The rooms' pages, rendered for reading."""
