"""Sets of everything that a server holds, restores, drills, and copies elsewhere."""
