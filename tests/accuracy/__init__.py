"""How well the bot hears the recorded calls in ../shared, through the whole of it."""
