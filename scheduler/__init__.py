"""What runs on a clock: the rows are the schedule, APScheduler only ticks."""
