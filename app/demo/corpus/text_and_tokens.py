"""Topics: how text becomes tokens, and how a model reads and writes them."""

from app.demo.corpus.topic import Topic

TOPICS: tuple[Topic, ...] = (
    Topic(
        names=("a token", "the word token"),
        plural_names=("tokens",),
        answers=(
            (
                "A token is a small piece of text, such as a word, part of a word or a single character. "
                "A language model reads and writes tokens, not letters."
            ),
            (
                "A token is the unit that a language model works with: [often a word or a piece of a word|usually a "
                "short piece of a word]. Text is cut into tokens before the model sees it."
            ),
        ),
        details=(
            "Each token has a number, its id, and the model only ever sees these numbers.",
            "As a rule of thumb, one English word is a little more than one token.",
        ),
        questions=("How is text split into pieces?", "What does a model read?", "Is a token a word?"),
    ),
    Topic(
        names=("a tokenizer", "the tokenizer", "tokenization"),
        answers=(
            (
                "A tokenizer turns text into token ids, and token ids back into text. "
                "Every model has its own tokenizer, and the two must match."
            ),
            (
                "The tokenizer cuts text into tokens and gives each one a number. It also turns the numbers back "
                "into text."
            ),
        ),
        details=(
            "My own tokenizer works on bytes, so it can write any character, even an emoji.",
            "One character can need several tokens, so a stream must wait until a character is whole.",
        ),
        questions=("How does text become numbers?", "What turns text into tokens?"),
    ),
    Topic(
        names=("byte pair encoding", "BPE", "a byte-level BPE tokenizer"),
        answers=(
            (
                "Byte pair encoding builds a vocabulary by joining the most frequent pair of pieces again and again. "
                "It starts from single bytes, so no text is ever unknown."
            ),
        ),
        details=("Frequent words end up as one token, and rare words as several.",),
    ),
    Topic(
        names=("the vocabulary", "a vocabulary"),
        answers=(
            (
                "The vocabulary is the list of all tokens that a model knows. "
                "At every step the model gives each token in the vocabulary a score."
            ),
        ),
        details=("A large vocabulary makes texts shorter in tokens, but it makes the last layer of the model larger.",),
    ),
    Topic(
        names=("a language model", "an LLM", "a large language model"),
        plural_names=("language models", "LLMs"),
        answers=(
            (
                "A language model is a program that has learned which token is likely to come next. "
                "It writes text by choosing one token after another."
            ),
            "A language model reads some text and predicts the next token. Repeated many times, this makes sentences.",
        ),
        details=(
            "It learns from examples, and it can be wrong, so check what matters.",
            "I am a very small one: large models have thousands of times more parameters.",
        ),
        questions=("How does a language model write text?", "How do you generate text?", "How do you write?"),
    ),
    Topic(
        names=("autoregressive generation", "autoregressive decoding", "text generation"),
        answers=(
            (
                "Autoregressive generation means that the model writes one token at a time. "
                "Each new token is added to the text, and the longer text is used to choose the next one."
            ),
        ),
        details=("This is why long answers take longer: every token needs its own step.",),
    ),
    Topic(
        names=("prefill", "the prefill", "the prefill phase"),
        answers=(
            (
                "Prefill is the first part of a generation: the model reads the whole prompt and fills the KV cache. "
                "When it is done, the first token can be chosen."
            ),
            (
                "Prefill means reading the prompt. All prompt tokens are computed [together|in a few large steps], so "
                "prefill is limited by computing speed."
            ),
        ),
        details=(
            "A long prompt has a long prefill, and this makes the time to first token longer.",
            "Millrace can cut a long prefill into chunks, so that other sequences do not have to wait.",
        ),
        questions=("What happens to my prompt first?", "How is a prompt read?"),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Prefill reads the whole prompt in a few large steps, and decode writes the answer one token per step. "
                "Prefill is limited by computing speed, decode by memory speed."
            ),
        ),
        questions=(
            "What is the difference between prefill and decode?",
            "How [do|are] prefill and decode [differ|different]?",
            "[Compare|Explain] prefill and decode.",
            "What are prefill and decode?",
        ),
    ),
    Topic(
        names=("decode", "the decode phase", "decoding"),
        answers=(
            (
                "Decode is the second part of a generation: the model writes one token per step. "
                "Each step reads the KV cache, so decode is limited by memory speed."
            ),
        ),
        details=("Many sequences can share one decode step, and that is why batching makes a server fast.",),
    ),
    Topic(
        names=("chunked prefill",),
        answers=(
            (
                "Chunked prefill cuts a long prompt into pieces and reads one piece per step. "
                "In this way a long prompt does not hold up the sequences that are already writing."
            ),
        ),
        details=("The result is the same as reading the prompt at once; only the order of the work changes.",),
    ),
    Topic(
        names=("attention", "the attention mechanism", "self-attention"),
        answers=(
            (
                "Attention lets each token look at the tokens before it and take what it needs from them. "
                "It compares a query with keys, and mixes the values of the best matches."
            ),
        ),
        details=("The keys and values of earlier tokens do not change, so they are kept in the KV cache.",),
    ),
    Topic(
        names=("a transformer", "the transformer"),
        plural_names=("transformers",),
        answers=(
            (
                "A transformer is a neural network made of layers, each with attention and a small feed-forward "
                "network. Most language models are transformers."
            ),
        ),
        details=("I am a transformer too, with only a few layers.",),
    ),
    Topic(
        names=("a KV cache", "the KV cache", "KV caching", "a key-value cache", "KV cache"),
        answers=(
            (
                "A KV cache stores the keys and values of the tokens that the model has already read. "
                "With it, each new token needs only one small step instead of reading the whole text again."
            ),
            (
                "The KV cache is memory that holds the attention keys and values of earlier tokens. "
                "It saves the model from computing them again for every new token."
            ),
        ),
        details=(
            "It grows with every token, so its size limits how many sequences fit on the machine.",
            "Millrace keeps the KV cache in blocks of equal size, so that little memory is wasted.",
        ),
        questions=("Why do models keep keys and values?", "Why is decoding not slow with long texts?"),
    ),
    Topic(
        names=("a paged KV cache", "the paged KV cache", "paged attention"),
        answers=(
            (
                "A paged KV cache is cut into blocks of equal size, and each sequence has a table of its blocks. "
                "Blocks can lie anywhere in memory, so almost no space is wasted."
            ),
        ),
        details=("When a sequence ends, its blocks go back to the pool and another sequence can use them.",),
    ),
    Topic(
        names=("a block table", "the block table"),
        answers=(
            (
                "A block table lists the blocks of the KV cache that belong to one sequence, in order. "
                "Attention follows the table to find the keys and values."
            ),
        ),
    ),
    Topic(
        names=("prefix caching", "the prefix cache", "a prefix cache"),
        answers=(
            (
                "Prefix caching keeps the KV cache blocks of texts that were read before. "
                "When a new prompt starts with the same tokens, those blocks are used again and need no prefill."
            ),
        ),
        details=("It helps most when many prompts share a long system message, or in a long conversation.",),
    ),
    Topic(
        names=("an embedding",),
        plural_names=("embeddings",),
        answers=(
            (
                "An embedding is a list of numbers that stands for a token. "
                "Tokens with similar meaning get similar numbers."
            ),
        ),
    ),
)
