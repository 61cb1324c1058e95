"""`python -m app` is `llm-gateway`."""

from app.cli import main

main()
