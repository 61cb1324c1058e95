"""Every wire of the inference API. Law: an endpoint is served, described and tried in tests because it stands here."""

from app.api.inference import Wire
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE

WIRES: tuple[Wire, ...] = (CHAT_WIRE, EMBEDDINGS_WIRE, LLM_CHAT_WIRE)
