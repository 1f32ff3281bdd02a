"""Topics: Millrace itself, and the small model that comes with it."""

from app.demo.corpus.topic import Topic

TOPICS: tuple[Topic, ...] = (
    Topic(
        names=("Millrace", "the Millrace server", "this server", "this program", "this project"),
        answers=(
            (
                "Millrace is an HTTP server that streams text from language models. "
                "It batches many requests together and sends each token as soon as it is ready."
            ),
            (
                "Millrace is a server for language models. It speaks the OpenAI API, streams tokens as server-sent "
                "events and reports its speed to Prometheus."
            ),
        ),
        details=(
            "It keeps a paged KV cache, and it runs on a GPU where there is one and on the CPU otherwise.",
            "It also has a chat page for the browser, where you may be reading this.",
        ),
        questions=("What can Millrace do?", "What is this?", "Where am I?", "What does this server do?"),
    ),
    Topic(
        names=(),
        answers=(
            (
                "A millrace is the channel that leads water to a mill wheel. "
                "The server has this name because it leads a steady stream of tokens to you."
            ),
        ),
        questions=("Why is it called Millrace?", "What does the name Millrace mean?", "Where does the name come from?"),
    ),
    Topic(
        names=(),
        answers=(
            (
                "I am the small demo model that comes with Millrace. I can explain how text is generated, tell short "
                "stories, do small sums and write simple Python functions."
            ),
            (
                "I am a tiny language model that lives inside Millrace, so that the server can answer without a "
                "download. Ask me about tokens, the KV cache or streaming, or ask for a story."
            ),
        ),
        details=(
            "I have about seven million parameters, and all my training text was written by a program.",
            "I know only a small world, so I often have to say that I do not know.",
        ),
        questions=(
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Introduce yourself.",
            "[Tell me about|Describe] yourself.",
            "Are you [ChatGPT|GPT|Claude|Llama|a real person|a robot|an AI|human]?",
            "Which model [are you|is this]?",
            "Who [made|trained|built] you?",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "I can explain words like token, prefill, KV cache and temperature. "
                "I can also tell a short story, add small numbers, count, and write simple Python functions."
            ),
            (
                "You can ask me how text generation works, or for a story about a fox, or for 7 plus 5, or for a small "
                "Python function."
            ),
        ),
        questions=(
            "What can you do?",
            "How can you help[| me]?",
            "What can I ask[| you]?",
            "What should I ask[| you]?",
            "[Help|Help me|Can you help me|I need help].",
            "What are you good at?",
            "What do you know?",
            "Give me an example of what you can do.",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "I learned from text that a program wrote: chats about Millrace, short stories, sums and small "
                "functions. No text from the web was used."
            ),
        ),
        questions=(
            "What [were you trained on|is your training data]?",
            "Where does your knowledge come from?",
            "How were you trained?",
            "What data did you learn from?",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Start it with the command millrace serve. It then listens for HTTP, and you can open the chat page in "
                "your browser."
            ),
        ),
        questions=(
            "How do I [start|run|launch] [Millrace|the server|it]?",
            "How can I [start|run] Millrace?",
            "What is the command to start the server?",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Send a POST to /v1/chat/completions with a list of messages. "
                "With stream set to true, the answer comes token by token."
            ),
        ),
        questions=(
            "How do I [send a message|chat|talk to the model] [over HTTP|with the API|from a program]?",
            "How do I use the API?",
            "How do I call Millrace?",
            "Which endpoint is for chat?",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Chat completions take a list of messages and use the chat template. "
                "Plain completions take one text and simply continue it."
            ),
        ),
        questions=(
            "What is the difference between chat and [plain |]completions?",
            "When should I use completions[| instead of chat]?",
        ),
    ),
    Topic(
        names=("the chat page", "the web page"),
        answers=(
            (
                "The chat page is a small web page that Millrace serves itself. "
                "You type a message, and the answer appears token by token."
            ),
        ),
    ),
    Topic(
        names=("the command millrace bench", "millrace bench", "the load generator"),
        answers=(
            (
                "The command millrace bench sends many prompts to a server and measures it. "
                "It reports time to first token, time between tokens and tokens per second."
            ),
        ),
        questions=("How do I [measure|test|benchmark] [the server|Millrace|the speed]?",),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Yes. Start the server with the path or the name of another model, and it is loaded instead of me. "
                "Many models from the transformers library work."
            ),
        ),
        questions=(
            "Can I use [another|a bigger|a better|my own] model?",
            "How do I load [another|a bigger|my own] model?",
            "Which models [does Millrace support|work with Millrace|can I use]?",
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "When a client leaves, Millrace stops its generation within one step and frees its memory. "
                "The other streams do not change."
            ),
        ),
        questions=("What happens when I [close the page|disconnect|leave]?", "What if the client goes away?"),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Millrace starts the engine again and continues the open streams where they were. "
                "The text is the same as without the crash."
            ),
        ),
        questions=("What happens [when|if] the engine [crashes|dies|fails]?", "How does Millrace recover?"),
    ),
    Topic(
        names=("the engine", "the engine process"),
        answers=(
            (
                "The engine is the process that runs the model. It repeats one step: schedule a batch, run it, and "
                "update the sequences."
            ),
        ),
    ),
    Topic(
        names=(),
        answers=(
            (
                "Millrace has two processes: one speaks HTTP and handles text, and the other runs the model. "
                "In this way many open streams do not slow the model down."
            ),
        ),
        questions=("Why are there two processes?", "How is Millrace built?", "How does Millrace work inside?"),
    ),
)
