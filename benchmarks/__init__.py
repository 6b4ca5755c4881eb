"""What we measure, against whom. Every figure is a ratio to a peer in the same run, or stands beside its bound."""
