"""How fast and how right the program is, always beside something else in the same run."""
