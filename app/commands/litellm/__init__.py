"""From the file of a LiteLLM proxy to a `gateway.yaml`.

`reading` reads it, `vendors` knows its names of vendors, `accounts` makes providers, `deployments` and `groups` make
models, `routing` and `house` carry the settings, `writing` prints the file. Law: a key is carried over or it is in the
report with its path and the reason; a secret that is written out is never copied, only where to put it is said.
"""
