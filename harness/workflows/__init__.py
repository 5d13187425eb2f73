"""What a session does, a module for each: plan it, compute it, and make something of it."""
