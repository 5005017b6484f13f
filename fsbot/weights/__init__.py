"""Whisper weights: found, fetched, proven whole, converted and loaded."""

from fsbot.weights.loading import load_model

__all__ = ["load_model"]
