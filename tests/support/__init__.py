"""What the tests stand on: a real PostgreSQL, a real Chromium, free ports."""
