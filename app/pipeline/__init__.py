"""The typed ring around one call: meter, admit, routed, dispatch. Law: every layer has the same verb."""
