"""Greetings in several languages, and a few emoji."""

# ruff: noqa: RUF001 - these letters are meant

from typing import NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick


class Language(NamedTuple):
    """What the model can say in one language."""

    name: str
    hello: str
    thanks: str
    goodbye: str
    answer: str
    welcome: str


LANGUAGES: tuple[Language, ...] = (
    Language("Spanish", "Hola", "Gracias", "Adiós", "¡Hola! ¿En qué puedo ayudarte?", "¡De nada!"),
    Language("French", "Bonjour", "Merci", "Au revoir", "Bonjour ! Comment puis-je vous aider ?", "Je vous en prie !"),
    Language("German", "Guten Tag", "Danke", "Auf Wiedersehen", "Guten Tag! Wie kann ich helfen?", "Gern geschehen!"),
    Language("Italian", "Ciao", "Grazie", "Arrivederci", "Ciao! Come posso aiutarti?", "Prego!"),
    Language("Portuguese", "Olá", "Obrigado", "Tchau", "Olá! Como posso ajudar?", "De nada!"),
    Language("Dutch", "Hallo", "Dank je", "Tot ziens", "Hallo! Hoe kan ik je helpen?", "Graag gedaan!"),
    Language("Polish", "Cześć", "Dziękuję", "Do widzenia", "Cześć! Jak mogę pomóc?", "Proszę bardzo!"),
    Language("Turkish", "Merhaba", "Teşekkürler", "Hoşça kal", "Merhaba! Nasıl yardımcı olabilirim?", "Rica ederim!"),
    Language("Russian", "Привет", "Спасибо", "До свидания", "Привет! Чем я могу помочь?", "Пожалуйста!"),
    Language("Greek", "Γεια σου", "Ευχαριστώ", "Αντίο", "Γεια σου! Πώς μπορώ να βοηθήσω;", "Παρακαλώ!"),
    Language(
        "Japanese",
        "こんにちは",
        "ありがとう",
        "さようなら",
        "こんにちは！何をお手伝いしましょうか？",
        "どういたしまして！",
    ),
    Language("Chinese", "你好", "谢谢", "再见", "你好！我能帮你什么？", "不客气！"),
    Language("Korean", "안녕하세요", "감사합니다", "안녕히 가세요", "안녕하세요! 무엇을 도와드릴까요?", "천만에요!"),
    Language("Hindi", "नमस्ते", "धन्यवाद", "अलविदा", "नमस्ते! मैं आपकी क्या मदद कर सकता हूँ?", "आपका स्वागत है!"),
    Language("Arabic", "مرحبا", "شكرا", "مع السلامة", "مرحبا! كيف يمكنني مساعدتك؟", "على الرحب والسعة!"),
)

_HOW_TO_SAY = (
    "How do you say {word} in {language}?",
    "[Say|Write] {word} in {language}.",
    "What is {word} in {language}?",
    "[Translate {word} to|{word} in] {language}",
)
_EMOJI: tuple[tuple[str, str], ...] = (
    ("👋", "👋 Hello! What would you like to know?"),
    ("🙂", "🙂 Hello! How can I help you?"),
    ("🎉", "🎉 Hooray! What are we celebrating?"),
    ("🌊", "🌊 The water flows, and so do the tokens."),
    ("❤️", "❤️ Thank you, that is kind of you!"),
    ("🤖", "🤖 Yes, I am a small language model."),
    ("👍", "👍 Good! What would you like to know next?"),
    ("🦊", "🦊 A fox! Would you like a story about a fox?"),
)
_WISH_FOR_EMOJI = (
    "[Send|Show|Give] me [an emoji|a smiley].",
    "[Write|Answer with|Reply with] an emoji.",
    "Do you know any emoji?",
)
_ALL_EMOJI = "Here are some emoji: 🙂 🎉 🌊 🦊 🤖 ❤️"


def foreign_words(dice: Dice) -> list[Exchange]:
    """A wish for a word in another language."""
    language = dice.choice(LANGUAGES)
    word, translated = dice.choice(
        (("hello", language.hello), ("thank you", language.thanks), ("goodbye", language.goodbye))
    )
    asked = pick(dice, _HOW_TO_SAY, {"word": word, "language": language.name})
    return [Exchange(asked, f"In {language.name}, {word} is {translated}.")]


def foreign_greeting(dice: Dice) -> list[Exchange]:
    """A greeting that is answered in its own language, or an emoji."""
    if dice.random() < 0.2:
        return [Exchange(*dice.choice(_EMOJI))]
    if dice.random() < 0.1:
        return [Exchange(pick(dice, _WISH_FOR_EMOJI), _ALL_EMOJI)]
    language = dice.choice(LANGUAGES)
    mark = dice.choice(("", "!", "."))
    return [
        dice.choice(
            (
                Exchange(language.hello + mark, language.answer),
                Exchange(language.hello + mark, language.answer),
                Exchange(language.thanks + mark, language.welcome),
                Exchange(language.goodbye + mark, f"{language.goodbye}! 👋"),
            )
        )
    ]


def phrasebook(dice: Dice) -> str:
    """A list of one word in several languages, as plain text."""
    chosen = dice.sample(LANGUAGES, dice.randint(4, 9))
    title, column = dice.choice((("Hello", "hello"), ("Thank you", "thanks"), ("Goodbye", "goodbye")))
    lines = [f"{language.name}: {getattr(language, column)}" for language in chosen]
    return f"{title} in {len(lines)} languages:\n" + "\n".join(lines)
