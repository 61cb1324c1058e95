"""Which target serves a model. Law: decide, then act; this floor only decides."""
