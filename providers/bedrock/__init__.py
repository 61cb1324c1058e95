"""Amazon Bedrock: the Converse wire, embeddings by InvokeModel, and AWS's signatures."""
