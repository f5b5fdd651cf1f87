"""The architectures' pages, rendered for reading."""
