"""What somebody else serves: the client of an OpenAI-compatible server, a judge and a sampler over it."""
