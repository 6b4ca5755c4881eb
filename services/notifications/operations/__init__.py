"""Operations of notifications."""
