"""What an answer is worth: its status."""
