"""Fan-out: several models are asked, and one answer is made of theirs."""
