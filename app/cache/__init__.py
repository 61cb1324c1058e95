"""The semantic-hash cache: what may be kept, under which key, and which kept answer is the same."""
