"""Networks that ship with Relatent, and where to get others."""
