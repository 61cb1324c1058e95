"""Both planes' HTTP: reads requests, asks the floors below, says the answers."""
