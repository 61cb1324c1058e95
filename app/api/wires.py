"""Every wire of the inference API. Law: an endpoint is served, described and tried in tests because it stands here."""

from app.api.anthropic.paths import COUNT_TOKENS_WIRE, MESSAGES_WIRE
from app.api.gemini.paths import GENERATE_WIRE
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.audio import SPEECH_WIRE, TRANSCRIPTIONS_WIRE, TRANSLATIONS_WIRE
from app.api.openai.completions import COMPLETIONS_WIRE
from app.api.openai.images import IMAGES_WIRE
from app.api.openai.moderations import MODERATIONS_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.api.openai.rerank import RERANK_WIRE
from app.api.openai.responses import RESPONSES_WIRE
from app.api.understanding import Wire

WIRES: tuple[Wire, ...] = (
    CHAT_WIRE,
    COMPLETIONS_WIRE,
    EMBEDDINGS_WIRE,
    MODERATIONS_WIRE,
    RERANK_WIRE,
    RESPONSES_WIRE,
    IMAGES_WIRE,
    SPEECH_WIRE,
    TRANSCRIPTIONS_WIRE,
    TRANSLATIONS_WIRE,
    LLM_CHAT_WIRE,
    MESSAGES_WIRE,
    COUNT_TOKENS_WIRE,
    GENERATE_WIRE,
)
