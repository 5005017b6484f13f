"""fsbot turns live FreeSWITCH calls into text while people speak."""

__version__ = "0.1.0"
