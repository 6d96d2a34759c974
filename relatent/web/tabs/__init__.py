"""The tabs of the page, one module for each: widgets and event handlers."""
