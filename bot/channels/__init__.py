"""Ways to residents: one file each, all alike from outside."""
