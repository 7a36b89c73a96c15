"""What the channels count for /metrics."""

from prometheus_client import Counter

REFUSED_CALLBACKS = Counter(
    "officer_callbacks_refused", "Callbacks that were not believed, by reason", ["channel", "reason"]
)
UNKNOWN_MESSAGES = Counter(
    "officer_messages_unknown", "Messages of a kind or event the program does not know", ["channel", "kind"]
)
UNSTORED_MESSAGES = Counter(
    "officer_messages_unstored", "Messages the program could not store, left to the platform's repeat", ["channel"]
)
PLATFORM_ERRORS = Counter(
    "officer_platform_errors", "Failed calls to a platform, by its error code", ["channel", "code"]
)
TOKEN_FETCHES = Counter("officer_token_fetches", "Access tokens asked for", ["channel", "result"])
