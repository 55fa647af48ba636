"""What a federation root does: found, invite, enrol, rotate, revoke, each with an entry in a log of its own."""
