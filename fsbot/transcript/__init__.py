"""What was said, as records: one schema for journal, events and exports."""
