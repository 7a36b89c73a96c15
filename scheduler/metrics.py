"""What the senders count for /metrics."""

from prometheus_client import Counter, Gauge

PARKED_CHANNELS = Gauge("officer_channel_parked", "1 while nothing goes through a channel", ["channel"])
DELIVERIES_ENDED = Counter("officer_deliveries_ended", "Attempts to send, by how they ended", ["channel", "end"])
