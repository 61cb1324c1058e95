"""Google's generateContent, as its providers speak it and as its clients do; served by the Gemini API and Vertex AI."""
