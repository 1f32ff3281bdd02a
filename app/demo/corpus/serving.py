"""Topics: what a server of language models does, and how it is measured."""

from app.demo.corpus.topic import Topic

TOPICS: tuple[Topic, ...] = (
    Topic(
        names=("streaming", "token streaming"),
        answers=(
            (
                "Streaming sends each piece of text as soon as it is written. You can read the start of the answer "
                "while the rest is still being made."
            ),
        ),
        details=("Set stream to true, and the answer comes as server-sent events, the last of which says DONE.",),
        questions=(
            "How do I stream the answer?",
            "How do I turn on streaming?",
            "Why does the text appear bit by bit?",
        ),
    ),
    Topic(
        plural_names=("server-sent events", "SSE events"),
        names=("SSE",),
        answers=(
            (
                "Server-sent events are a simple way to send many small messages over one HTTP response. "
                "Each message starts with the word data and ends with an empty line."
            ),
        ),
    ),
    Topic(
        names=("continuous batching", "in-flight batching"),
        answers=(
            (
                "Continuous batching lets sequences join and leave the batch at every step. "
                "A new prompt does not wait until the others are finished."
            ),
            (
                "With continuous batching the server forms a new batch at every step. Finished sequences leave at once "
                "and waiting ones take their place."
            ),
        ),
        details=("The machine stays busy, so many users are served with little waiting.",),
        questions=("How are many users served at once?", "How does Millrace serve many users?"),
    ),
    Topic(
        names=("batching", "a batch"),
        answers=(
            (
                "Batching means that several sequences share one step of the model. "
                "The weights are read once for all of them, so more tokens come out per second."
            ),
        ),
    ),
    Topic(
        names=("a scheduler", "the scheduler"),
        answers=(
            (
                "The scheduler decides at every step which sequences run and how many tokens each may compute. "
                "Running sequences go first, and waiting ones are admitted while there is room."
            ),
        ),
        details=("If memory runs out, the youngest sequence gives its blocks back and waits at the front.",),
    ),
    Topic(
        names=("preemption",),
        answers=(
            (
                "Preemption takes the memory of one sequence so that others can go on. "
                "The sequence waits, is computed again later, and continues with the same tokens."
            ),
        ),
    ),
    Topic(
        names=("a token budget", "the token budget"),
        answers=("The token budget is the number of tokens that one step may compute. The scheduler shares it out.",),
    ),
    Topic(
        names=("TTFT", "the time to first token", "time to first token", "ttft"),
        answers=(
            (
                "TTFT is the time to first token: how long it takes from sending the prompt until the first token "
                "arrives. It includes waiting in the queue and the prefill."
            ),
            "TTFT means time to first token. It tells how long a user waits before the answer starts to appear.",
        ),
        details=("Long prompts and a full queue make it longer; prefix caching makes it shorter.",),
        questions=("Why is the first token slow?", "How long until the answer starts?"),
    ),
    Topic(
        names=("ITL", "the inter-token latency", "inter-token latency"),
        answers=(
            (
                "ITL is the inter-token latency: the time between one token of a stream and the next. "
                "When it is small and even, the text flows smoothly."
            ),
        ),
    ),
    Topic(
        names=("TPOT", "the time per output token"),
        answers=(
            (
                "TPOT is the time per output token: the time of the whole answer after its first token, "
                "divided by the number of tokens that followed."
            ),
        ),
    ),
    Topic(
        names=("throughput", "the throughput"),
        answers=(
            (
                "Throughput is the number of tokens that a server makes per second, for all users together. "
                "Larger batches raise it, but each user may wait a little longer."
            ),
        ),
        questions=("How many tokens per second do you make?", "How fast is the server?", "Is Millrace fast?"),
    ),
    Topic(
        names=("latency",),
        answers=(
            (
                "Latency is the time that one user has to wait. "
                "For a stream, people look at the time to first token and at the time between tokens."
            ),
        ),
    ),
    Topic(
        names=("Prometheus",),
        answers=(
            (
                "Prometheus is a program that collects metrics from servers and stores them over time. "
                "Millrace shows its metrics at /metrics in the format that Prometheus reads."
            ),
        ),
        questions=("How do I monitor the server?", "How can I watch Millrace?"),
    ),
    Topic(
        plural_names=("metrics", "the metrics of Millrace"),
        names=(),
        answers=(
            (
                "Metrics are numbers that tell how the server is doing, such as time to first token, tokens per second "
                "and the number of running sequences. Millrace shows them at /metrics."
            ),
        ),
    ),
    Topic(
        names=("a queue", "the queue"),
        answers=(
            (
                "The queue holds the requests that wait for a place in the batch. "
                "When it is full, the server answers 429 and says when to try again."
            ),
        ),
        questions=("What does error 429 mean?", "Why do I get a 429?", "What happens when the server is full?"),
    ),
    Topic(
        names=("a GPU", "the GPU"),
        plural_names=("GPUs",),
        answers=(
            (
                "A GPU is a chip that does very many small calculations at the same time. "
                "Language models run much faster on it than on a CPU."
            ),
        ),
        questions=("Do I need a GPU?", "Does Millrace need a GPU?", "Can I run Millrace without a GPU?"),
        details=("Millrace runs on a GPU where there is one, and on the CPU otherwise.",),
    ),
    Topic(
        names=("an API", "the API"),
        answers=(
            (
                "An API is the way in which programs talk to each other. "
                "Millrace speaks the OpenAI API, so existing clients can use it."
            ),
        ),
        questions=("Which API do you speak?", "Can I use the OpenAI client?", "Is Millrace compatible with OpenAI?"),
    ),
    Topic(
        names=("a container",),
        answers=(
            (
                "A container packs a program with everything it needs, so that it runs the same on every machine. "
                "Millrace can be deployed as a container."
            ),
        ),
    ),
    Topic(
        names=("a tool call", "tool calling", "function calling"),
        answers=(
            (
                "A tool call is an answer in which the model asks a program to do something and gives the arguments. "
                "The program runs, and its result goes back to the model."
            ),
        ),
    ),
    Topic(
        names=("JSON",),
        answers=(
            (
                "JSON is a simple text format for data, with objects, lists, strings and numbers. "
                "The API of Millrace takes JSON and answers with JSON."
            ),
        ),
    ),
)
