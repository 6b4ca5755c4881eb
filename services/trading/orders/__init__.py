"""Orders of live sessions: decision → intent → order → fills → trade. One pure planner, run by one actor per session."""
