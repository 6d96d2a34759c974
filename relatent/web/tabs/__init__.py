"""The page's tabs: widgets and their wiring, one module a tab."""
