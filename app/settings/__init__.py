"""The file and the environment become one frozen tree. Law: all faults at once, each with its path; no secret shown."""
