"""What a request may use, reserved before the upstream call and settled after it."""
