"""What the services say to one another: one file of events per publisher, and the types they are made of."""
