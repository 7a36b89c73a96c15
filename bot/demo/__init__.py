"""A made-up but life-like station, the same each time: settings, people, a week of conversations, two warnings."""
