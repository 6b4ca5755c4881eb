"""Orders of live sessions: decision → intent → order → fills → trade."""
