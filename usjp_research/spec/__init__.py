"""What is asked: parameters as frozen records, and their readers."""
