"""Several models that answer together, over sockets: who wins, who is cut, who pays, and what is left."""
