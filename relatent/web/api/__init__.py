"""Calls for programs: the same work as the tabs, without a browser."""
