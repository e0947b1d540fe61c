"""Topics: messages for all connections that are subscribed to a name."""
