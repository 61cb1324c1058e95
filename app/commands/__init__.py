"""What each command does. Law: the surface is `app.cli`; a module here is imported when its command runs."""
