"""What every task is made of: the seam, the shelf, and tasks whose examples are strings."""
