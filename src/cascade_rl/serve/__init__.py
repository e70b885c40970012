"""An OpenAI-compatible server of a checkpoint: chat completions, in both modes.

Covered: `/v1/chat/completions` with streaming, several choices, stop texts, seeds and log-probabilities,
`/v1/models`, `/health`. Not covered, and refused: tools, structured output, images, other endpoints.
"""
