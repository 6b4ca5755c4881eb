"""The events that services exchange, one file per publisher, and the types of their fields."""
