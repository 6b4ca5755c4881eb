"""The API reference that the gateway serves, generated from the services' endpoints and errors."""
