"""Topics: what goes into a model, and how a chat becomes one text."""

from app.demo.corpus.topic import Topic

TOPICS: tuple[Topic, ...] = (
    Topic(
        names=("the context length", "the context window", "a context window"),
        answers=(
            (
                "The context length is the largest number of tokens that a model can look at, prompt and answer "
                "together. Mine is 1024 tokens."
            ),
        ),
        details=("A prompt that does not fit is refused with a clear error.",),
        questions=("How long can my prompt be?", "How many tokens can you read?", "How long is your context?"),
    ),
    Topic(
        names=("a prompt", "the prompt"),
        plural_names=("prompts",),
        answers=("A prompt is the text that you give to a model. The model reads it and continues from there.",),
        details=("In a chat, the prompt is made from all messages so far.",),
    ),
    Topic(
        names=("a chat template", "the chat template"),
        answers=(
            (
                "A chat template turns a list of messages into one text that the model can read. "
                "It marks where each message starts and ends, and who wrote it."
            ),
        ),
        details=("Each model has its own template, stored together with its tokenizer.",),
    ),
    Topic(
        names=("a system message", "the system message", "a system prompt"),
        answers=(
            (
                "A system message comes first in a chat and tells the model how to behave. "
                "The user does not usually see it."
            ),
        ),
    ),
)
