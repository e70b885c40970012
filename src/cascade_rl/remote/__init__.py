"""What somebody else serves: the client of an OpenAI-compatible server, and a judge over it."""
