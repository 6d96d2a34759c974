"""Attributes of faces that directions are learnt from and measured by."""
