"""Every change of state with its AuditEvent, in the caller's transaction: no HTTP, no platform, no commit."""
