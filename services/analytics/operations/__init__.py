"""Operations of analytics."""
