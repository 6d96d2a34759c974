"""Foreign files read as plain data: nothing in them is ever executed, no size is believed."""
