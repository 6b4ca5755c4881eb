"""Pure rules of alerts and notifications."""
