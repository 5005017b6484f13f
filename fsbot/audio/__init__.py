"""From a growing recording to one 16 kHz stream per side."""
