"""Clock, ids, money and errors: what every floor may use. Law: standard library only."""
