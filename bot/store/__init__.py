"""What the station keeps: tables, the way to them, search and migrations."""
