"""Networks that ship with Relatent, where to get others, and foreign files read as plain data."""
