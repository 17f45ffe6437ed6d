"""What every encoding is made of and held to: the interface, chains, and the shelf."""
